// SPDX-License-Identifier: GPL-2.0-only
/* shunt run */
#include "cgroup.h"
#include "ctl.h"
#include "hop.h"
#include "instance.h"
#include "rules.h"
#include "transport.h"
#include "wish.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
	"usage: shunt run [--transport T[,T...]] [--coverage C]\n"
	"                 [--strict] [--path P] [--] CMD [ARG...]\n"
	"\n"
	"Runs a command whose connections go over this transport, whatever "
	"the\n"
	"rest of the policy says. For the time it runs there is a cgroup\n"
	"shunt-run-PID with a rule for it at the top of the policy. What the\n"
	"command leaves running goes on below the policy's other rules.\n"
	"\n"
	"  --transport T,...  in order of preference (default udp); tcp: "
	"leave\n"
	"                 this command alone\n"
	"  --coverage C   full (default) or headers: see `shunt policy "
	"--help`\n"
	"  --strict       every segment on the transport: see there, too\n"
	"  --path P       segment (the default) or message: see `shunt policy\n"
	"                 --help`\n"
	"\n"
	"The exit code is the command's, 128 + N if signal N ended it, 126 or\n"
	"127 if it could not be started.\n"
	"\n"
	"example: shunt run -- curl -O https://example.org/file\n";

struct run {
	struct wish_text wish;
	char **argv;
	char cgroup[64]; /* name */
	char path[PATH_MAX];
	__u64 cgroup_id; /* 0: not made */
	sigset_t own_mask;
};

/* ---- policy and cgroup ---- */

/* Runs that were killed leave both behind; here is the lock to tidy up. */
static void drop_dead_runs(const struct instance *in, struct rules *rules)
{
	char path[PATH_MAX];

	cgroup_tidy_runs(&in->host, in->settings.cgroup);
	for (unsigned i = rules->n; i > 0; i--) {
		__u64 id = rules->rule[i - 1].cgroup;

		if (id && cgroup_path_by_id(&in->host, id, path) == -ENOENT)
			rules_delete(rules, i);
	}
}

/* A cgroup with the child in it, and the rule for it. */
static int redirect(struct instance *in, struct run *run, pid_t child)
{
	struct shunt_transport all[SHUNT_MAX_TRANSPORTS];
	struct shunt_rule rule = RULE_ANY;
	struct rules rules;
	struct cgroup cg;
	int err;

	err = transport_read_all(in->dir, all);
	if (err)
		return err;
	err = wish_parse(&run->wish, all, &rule.wish);
	if (err)
		return err;
	err = cgroup_need_level(&in->host);
	if (!err)
		err = rules_read(in, &rules);
	if (err)
		return err;
	drop_dead_runs(in, &rules);
	snprintf(run->cgroup, sizeof(run->cgroup), CGROUP_RUN "%d", getpid());
	err = cgroup_create(&in->host, in->settings.cgroup, run->cgroup, &cg);
	if (err)
		return err;
	strcpy(run->path, cg.path);
	rule.cgroup = cg.id;
	rule.cgroup_level = cg.level;
	err = rules_insert(&rules, 1, &rule);
	if (!err)
		err = cgroup_add_process(&cg, child);
	if (!err)
		err = rules_write(in, &rules);
	if (!err)
		err = hops_for_policy(in);
	if (err)
		cgroup_dissolve(run->path);
	else
		run->cgroup_id = cg.id;
	cgroup_close(&cg);
	return err;
}

static void remove_rule(const struct run *run)
{
	struct instance in;
	struct rules rules;
	bool found = false;

	/* `shunt down` may have come first; then there is nothing to undo. */
	if (instance_open_quietly(&in))
		return;
	if (!rules_read(&in, &rules)) {
		for (unsigned i = rules.n; i > 0; i--) {
			if (rules.rule[i - 1].cgroup != run->cgroup_id)
				continue;
			rules_delete(&rules, i);
			found = true;
		}
		if (found)
			rules_write(&in, &rules);
	}
	instance_close(&in);
}

/* ---- the command ---- */

/* Waits until it is in its cgroup, so that no connection comes too early. */
static void child(const struct run *run, const struct host *host, int go)
{
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(1); /* the parent has said why */
	if (host_return(host))
		_exit(126);
	sigprocmask(SIG_SETMASK, &run->own_mask, NULL);
	execvp(run->argv[0], run->argv);
	shunt_err(-errno, "%s: %s", run->argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/*
 * What the terminal sends, the command has got by itself: it is in the same
 * process group. What somebody sent to us is meant for it.
 */
static void forward(pid_t pid, const siginfo_t *info)
{
	if (info->si_code != SI_KERNEL)
		kill(pid, info->si_signo);
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

static int wait_for(pid_t pid, const sigset_t *signals)
{
	siginfo_t info;
	int status;

	for (;;) {
		if (sigwaitinfo(signals, &info) < 0)
			continue;
		if (info.si_signo != SIGCHLD) {
			forward(pid, &info);
			continue;
		}
		if (waitpid(pid, &status, WNOHANG | WUNTRACED) != pid)
			continue;
		if (!WIFSTOPPED(status))
			return exit_status(status);
		/* ^Z: the shell waits for us, so we stop with it. */
		raise(SIGSTOP);
		kill(pid, SIGCONT);
	}
}

static void block_signals(sigset_t *signals, sigset_t *before)
{
	static const int forwarded[] = {
		SIGCHLD, SIGHUP,  SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
		SIGUSR2, SIGALRM, SIGWINCH, SIGCONT, SIGTSTP,
	};

	sigemptyset(signals);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(signals, forwarded[i]);
	sigprocmask(SIG_BLOCK, signals, before);
}

/* Under the lock of `in`, which it releases. */
static int start(struct instance *in, struct run *run, pid_t *pid)
{
	int go[2], err, status;

	if (pipe2(go, O_CLOEXEC))
		return shunt_err(-errno, "pipe: %s", strerror(errno));
	*pid = fork();
	if (*pid < 0) {
		err = shunt_err(-errno, "fork: %s", strerror(errno));
		close(go[0]);
		close(go[1]);
		return err;
	}
	if (!*pid) {
		close(go[1]);
		child(run, &in->host, go[0]);
	}
	close(go[0]);
	err = redirect(in, run, *pid);
	if (!err && write(go[1], "", 1) != 1)
		err = shunt_err(-errno, "pipe: %s", strerror(errno));
	close(go[1]);
	if (err)
		waitpid(*pid, &status, 0);
	return err;
}

static int run_command(struct context *ctx, struct run *run)
{
	struct instance in;
	sigset_t signals;
	pid_t pid = -1;
	int err;

	err = instance_open_locked(&in);
	if (err)
		return err;
	block_signals(&signals, &run->own_mask);
	err = start(&in, run, &pid);
	instance_close(&in);
	if (!err)
		ctx->status = wait_for(pid, &signals);
	if (run->cgroup_id) {
		/*
		 * In this order: whoever comes next tidies a rule whose cgroup
		 * is gone, if we are killed in between.
		 */
		cgroup_dissolve(run->path);
		remove_rule(run);
	}
	return err;
}

static int run(struct context *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'},
		{"transport", required_argument, NULL, 'T'},
		{"coverage", required_argument, NULL, 'C'},
		{"strict", no_argument, NULL, 's'},
		{"path", required_argument, NULL, 'P'},
		{},
	};
	struct run run = {.wish = WISH_TEXT};
	int opt, err;

	/* "+": the command's options are its own. */
	while ((opt = next_option(ctx, argc, argv, "+:hjv", options)) != -1) {
		switch (opt) {
		case 'T':
			run.wish.transports = optarg;
			break;
		case 'C':
			run.wish.coverage = optarg;
			break;
		case 's':
			run.wish.strict = true;
			break;
		case 'P':
			if (check_path(ctx, optarg))
				return -SHUNT_EUSAGE;
			run.wish.path = optarg;
			break;
		default:
			return -SHUNT_EUSAGE;
		}
	}
	if (optind == argc)
		return shunt_usage(ctx, "run: which command?");
	run.argv = argv + optind;
	err = require_root(ctx);
	if (!err)
		err = run_command(ctx, &run);
	return err;
}

const struct command command_run = {
	.name = "run",
	.summary = "run a command, and redirect only its connections",
	.help = help,
	.run = run,
};
