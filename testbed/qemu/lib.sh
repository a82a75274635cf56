# SPDX-License-Identifier: GPL-2.0-only
# What the scripts of this folder share. They set $name to what they are called.
# shellcheck shell=bash

# What a clean matrix means, oldest first
all_kernels='6.1 6.12 7.3'

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(readlink -f "$here/../..")
out=$root/build/qemu

die()
{
	local status=$1

	shift
	echo "${name:-qemu}: $*" >&2
	exit "$status"
}

# Those of the commands that are not there, for a message
need_commands()
{
	local c missing=

	for c in "$@"; do
		command -v "$c" >/dev/null || missing+=" $c"
	done
	[ -z "$missing" ] ||
		die 1 "not found:$missing; install them with: make deps"
}

# Fetching and packing are done once, whoever asks first.
one_at_a_time()
{
	mkdir -p "$out"
	exec {lock}>"$out/lock"
	flock "$lock"
}
