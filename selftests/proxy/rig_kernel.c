// SPDX-License-Identifier: GPL-2.0-only
/* What takes the place of main.c, kernel.c and the kernel: see rig.h. */
#include "rig.h"

#include <bpf/bpf.h>
#include <string.h>

struct rig *rig;

bool verbose;

uint64_t clock_ns(void)
{
	return rig->px.now_ns;
}

void say(const char *format, ...)
{
	(void)format;
}

const struct shunt_device *kernel_device(const struct proxy *px,
					 uint32_t ifindex)
{
	(void)px, (void)ifindex;
	return NULL;
}

int kernel_events(struct proxy *px)
{
	(void)px;
	return 0;
}

/* As bpf/msg_enrol.bpf.c does. */
int kernel_enrol(struct proxy *px, uint32_t number)
{
	struct shunt_stream *s = &px->shm_streams[number];

	s->primed = s->tx_held = s->tx_resumed = s->tx_open = 0;
	return SHUNT_ENROL_DONE;
}

void kernel_look(struct proxy *px, uint32_t number)
{
	(void)px, (void)number;
}

void kernel_look_queued(struct proxy *px)
{
	(void)px;
}

bool kernel_queued(const struct proxy *px, const struct shunt_stream *s,
		   uint64_t *queued)
{
	(void)px, (void)s, (void)queued;
	return false;
}

void kernel_release(struct proxy *px, uint32_t number)
{
	(void)px, (void)number;
}

void kernel_free_number(struct proxy *px, uint32_t number)
{
	(void)px, (void)number;
}

const struct shunt_flow *kernel_flow(struct proxy *px,
				     const struct shunt_key *key)
{
	(void)px, (void)key;
	return rig->flow.life == SHUNT_LIVE ? &rig->flow : NULL;
}

bool kernel_on_transport(struct proxy *px, const struct shunt_key *key)
{
	(void)px, (void)key;
	return true;
}

int kernel_destroy(const struct shunt_key *key)
{
	(void)key;
	rig->destroyed++;
	return 0;
}

int grace_wait(void)
{
	return 0;
}

/* Instead of libbpf's: what is injected. */
int bpf_prog_test_run_opts(int prog, struct bpf_test_run_opts *opts)
{
	(void)prog;
	rig->injected++;
	rig->frame_length = opts->data_size_in;
	if (opts->data_size_in <= sizeof(rig->frame))
		memcpy(rig->frame, opts->data_in, opts->data_size_in);
	return 0;
}
