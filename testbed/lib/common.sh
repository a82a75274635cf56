# SPDX-License-Identifier: GPL-2.0-only
# What all of lab's commands share.
# shellcheck shell=bash

die()
{
	local status=$1

	shift
	echo "lab: $*" >&2
	exit "$status"
}

# The global "command" is set by main.
bad_usage()
{
	[ $# = 0 ] || echo "lab $command: $*" >&2
	# shellcheck disable=SC2154
	printf 'usage: %s\n' "${usage[$command]}" >&2
	exit 2
}

is_number()
{
	[[ $1 =~ ^[0-9]{1,9}$ ]]
}

is_host()
{
	case $1 in
	client | router | server) return 0 ;;
	esac
	return 1
}

is_name()
{
	[[ $1 =~ ^shunt-[0-9a-f]{6}$ ]]
}

# Sets the globals name and state, or ends with an error.
use_lab()
{
	is_name "$1" || bad_usage "'$1' is not the name of a lab"
	name=$1
	state=$state_root/$name
	[ -d "$state" ] ||
		die 1 "no lab '$name'; make one with: lab up"
}

# inside HOST CMD...: run in a namespace of this lab. Not "ip netns exec",
# which mounts /sys anew and so hides bpffs and cgroup2.
inside()
{
	local host=$1

	shift
	nsenter --net="/run/netns/$name-$host" -- "$@"
}

# poll SECONDS CMD...: try CMD until it succeeds; 1 if it never does. A machine
# may be so busy that one try takes longer.
poll()
{
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000)) never= status=0

	shift
	until "$@"; do
		if [ "${EPOCHREALTIME/./}" -ge "$end" ]; then
			status=1
			break
		fi
		[ -n "$never" ] || exec {never}<> <(:)
		read -rt 0.01 -u "$never" || true # sleeps, and starts nothing
	done
	[ -z "$never" ] || exec {never}<&-
	return "$status"
}
