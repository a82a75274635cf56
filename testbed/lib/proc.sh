# SPDX-License-Identifier: GPL-2.0-only
# Processes: those of a lab, and the keeper that watches over it.
# shellcheck shell=bash

# Fields of /proc/PID/stat from the third on, into the array stat: the second
# is a name that may hold anything. Fails if the process is gone.
read_stat()
{
	local line=

	read -rd "" line 2>/dev/null <"/proc/$1/stat" || true
	[ -n "$line" ] || return 1
	read -ra stat <<<"${line##*) }"
}

# When a process started, into start: with its pid, this names it for good.
find_start()
{
	local stat

	start=
	read_stat "$1" && start=${stat[19]}
}

# is_alive PID START: that very process runs (a zombie does not)
is_alive()
{
	local stat

	read_stat "$1" || return 1
	[ "${stat[0]}" != Z ] && [ "${stat[19]}" = "$2" ]
}

# Whose lab is it if the caller does not say? Our parent's, but
# "name=$(lab up)" may run us in a subshell that ends as soon as we do: as
# long as the parent is a shell that its own parent forked without an exec
# (same program, and arguments at the same random address), go up.
find_owner()
{
	local pid=$PPID up exe stat args

	while read_stat "$pid"; do
		up=${stat[1]}
		args=${stat[45]}
		exe=$(readlink "/proc/$pid/exe") || break
		case ${exe##*/} in
		bash | dash | sh | busybox) ;;
		*) break ;;
		esac
		[ "$(readlink "/proc/$up/exe")" = "$exe" ] || break
		read_stat "$up" && [ "${stat[45]}" = "$args" ] || break
		pid=$up
	done
	echo "$pid"
}

# lab keep NAME PID START: wait until a process ends, then remove the lab.
# It polls, because a shell cannot wait for a process that is not its child;
# reading from a pipe that stays empty costs less than starting sleep. Twice a
# second: five times was one percent of an emulated guest's time.
keep()
{
	local owner=$2 start=$3 never

	command=down
	exec {never}<> <(:)
	while [ -d "$state_root/$1" ] && is_alive "$owner" "$start"; do
		read -rt 0.5 -u "$never" || true
	done
	cmd_down "$1"
}

start_keeper()
{
	local start

	find_start "$1" || die 1 "--owner: no process $1"
	setsid "$here/lab" keep "$name" "$1" "$start" \
		</dev/null >/dev/null 2>&1 &
	note_process $!
}

# Teardown ends the processes noted here, even if they left the namespace. When it
# started is in start, too.
note_process()
{
	# It may have failed already, which is for the caller to find out.
	find_start "$1" || return 0
	echo "$1 $start" >>"$state/processes"
}

# The pids of all that runs in the lab's namespaces or was started through it.
# The shell's own test looks at the files: one process less for each of them.
# Most are where init is, threads of the kernel above all, and no lab is there.
lab_pids()
{
	local host file pid start spaces=()

	for host in client router server; do
		[ ! -e "/run/netns/$name-$host" ] ||
			spaces+=("/run/netns/$name-$host")
	done
	for file in /proc/[0-9]*/ns/net; do
		[ "$file" -ef /proc/1/ns/net ] && continue
		for host in "${spaces[@]}"; do
			[ "$file" -ef "$host" ] || continue
			pid=${file#/proc/}
			pid=${pid%%/*}
			[ "$pid" = $$ ] || echo "$pid"
		done
	done
	[ -e "$state/processes" ] || return 0
	while read -r pid start; do
		[ "$pid" != $$ ] && is_alive "$pid" "$start" && echo "$pid"
	done <"$state/processes"
	return 0
}

# True if none is left but zombies, which are for their parents to reap.
lab_is_quiet()
{
	local pid stat

	for pid in $(lab_pids); do
		read_stat "$pid" && [ "${stat[0]}" != Z ] && return 1
	done
	return 0
}

end_processes()
{
	local signal pids seconds=1

	for signal in TERM KILL; do
		mapfile -t pids < <(lab_pids)
		[ ${#pids[@]} -gt 0 ] || return 0
		# CONT, or a stopped one would not hear TERM
		kill -s "$signal" "${pids[@]}" 2>/dev/null || true
		kill -s CONT "${pids[@]}" 2>/dev/null || true
		poll "$seconds" lab_is_quiet && return 0
		seconds=10 # TERM may go unheard; KILL does not
	done
	echo "lab: $name: processes $(lab_pids | xargs) do not end" >&2
	return 1
}

cmd_down()
{
	local host lock status=0

	[ $# = 1 ] || bad_usage
	is_name "$1" || bad_usage "'$1' is not the name of a lab"
	name=$1
	state=$state_root/$name
	# The keeper and the user may come at the same time.
	{ exec {lock}<"$state"; } 2>/dev/null || return 0
	flock "$lock"
	end_processes || status=1
	for host in client router server; do
		[ ! -e "/run/netns/$name-$host" ] ||
			echo "netns del $name-$host"
	done | ip -force -batch - || status=1
	rm -rf "$state"
	exec {lock}<&-
	return "$status"
}

cmd_exec()
{
	[ $# -ge 3 ] || bad_usage
	use_lab "$1"
	is_host "$2" || bad_usage "no host '$2'"
	exec nsenter --net="/run/netns/$name-$2" -- "${@:3}"
}

cmd_start()
{
	local pid

	[ $# -ge 3 ] || bad_usage
	use_lab "$1"
	is_host "$2" || bad_usage "no host '$2'"
	command -v -- "$3" >/dev/null ||
		die 1 "start: no command '$3'; give its path"
	(
		exec >"$state/$BASHPID.log" 2>&1 </dev/null
		exec setsid nsenter --net="/run/netns/$name-$2" -- "${@:3}"
	) &
	pid=$!
	note_process "$pid"
	echo "$pid"
}

# is_bound HOST tcp|udp PORT
is_bound()
{
	[ -n "$(inside "$1" ss -Hn --"$2" -l "sport = :$3")" ]
}

cmd_wait()
{
	[ $# = 4 ] || [ $# = 5 ] || bad_usage
	use_lab "$1"
	is_host "$2" || bad_usage "no host '$2'"
	case $3 in
	tcp | udp) ;;
	*) bad_usage "no protocol '$3'" ;;
	esac
	is_number "$4" || bad_usage "'$4' is not a port"
	is_number "${5-5}" || bad_usage "'$5' is not a number of seconds"
	poll "${5-5}" is_bound "$2" "$3" "$4" ||
		die 1 "wait: nothing on $3 port $4 of the $2 in ${5-5} s;" \
			"see the logs in $state"
}
