# SPDX-License-Identifier: GPL-2.0-only
# Faults of the path: by the testbed's own wire, or by netem.
# shellcheck shell=bash

wire_program=$build/testbed-wire

check_wire_program()
{
	[ -x "$wire_program" ] || die 1 "no $wire_program; build it with: make"
}

# rs - w0 [wire] w1 - the server's eth0. The two ends w0 and w1 belong to the
# wire: the router's own stack must not answer there. (veth's GRO is off by
# itself.)
#
# What the wire gets must be finished: every frame within the MTU, every
# checksum filled in, as on a cable. And nothing is put together again behind
# it, or the receiver would not see what was on the wire.
configure_wire_ends()
{
	local finish='tso off gso off gro off tx off >/dev/null
	' apart='
	for i in w0 w1; do
		echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6
	done
	'

	configure_server "ethtool -K eth0 $finish"
	configure_router "$apart ethtool -K rs $finish" \
		$'link set w0 arp off up\nlink set w1 arp off up'
}

# Its socket is there when it takes commands and carries frames.
wire_is_up()
{
	[ -S "$state/wire.sock" ] || ! is_alive "$1" "$2"
}

start_wire()
{
	local pid start

	setsid nsenter --net="/run/netns/$name-router" -- \
		"$wire_program" run "$state/wire.sock" w0 w1 \
		</dev/null >"$state/wire.log" 2>&1 &
	pid=$!
	note_process "$pid"
	poll 5 wire_is_up "$pid" "$start" && is_alive "$pid" "$start" ||
		die 1 "the wire failed: $(<"$state/wire.log")"
}

set_first_faults()
{
	[ -z "$1" ] || "$wire_program" ask "$state/wire.sock" set "$1" ||
		die 2 "--wire: cannot do '$1'; see: lab fault --help"
	"$wire_program" ask "$state/wire.sock" reset >/dev/null
}

need_wire()
{
	[ -e "$state/wire.sock" ] ||
		die 1 "lab '$name' has no wire; make one with:" \
			"lab up --wire \"\" (or --wire SPEC)"
}

cmd_wire_stats()
{
	case $# in
	1) ;;
	2) [ "$2" = reset ] || bad_usage ;;
	*) bad_usage ;;
	esac
	use_lab "$1"
	need_wire
	"$wire_program" ask "$state/wire.sock" "${2-stats}"
}

cmd_fault()
{
	[ $# = 2 ] || [ $# = 3 ] || bad_usage
	use_lab "$1"
	if [ $# = 3 ]; then
		[ "$2" = --netem ] || bad_usage "unknown option '$2'"
		netem "$3"
		return
	fi
	need_wire
	"$wire_program" ask "$state/wire.sock" set "$2" || exit 2
}

# netem SPEC: the same words as the wire's, as far as netem has them
netem()
{
	local item value delay=0ms jitter= reorder= args=() devices='rc rs' dev

	if [ "$1" = none ]; then
		for dev in rc rs; do
			inside router tc qdisc del dev $dev root 2>/dev/null ||
				true
		done
		return
	fi
	for item in ${1//,/ }; do
		value=${item#*=}
		case $item in
		delay=*) delay=$value ;;
		jitter=*) jitter=$value ;;
		reorder=*) reorder=$value ;;
		loss=*) args+=(loss "$value") ;;
		dup=*) args+=(duplicate "$value") ;;
		damage=*) args+=(corrupt "$value") ;;
		rate=0) ;;
		rate=*) args+=(rate "$value") ;;
		limit=*) args+=(limit "$value") ;;
		dir=both) ;;
		dir=to-server) devices=rs ;;
		dir=to-client) devices=rc ;;
		seed=*)
			# tc has it only since 6.6
			echo "lab: fault: netem goes without seed" >&2
			;;
		*) bad_usage "netem has no '$item'" ;;
		esac
	done
	# netem's reordering sends some packets without the delay.
	[ -z "$reorder" ] || args+=(reorder "$reorder")
	for dev in $devices; do
		inside router tc qdisc replace dev "$dev" root netem \
			delay "$delay" ${jitter:+"$jitter"} "${args[@]}" ||
			die 1 "fault: this kernel does not do netem so;" \
				"use the wire: lab up --wire SPEC"
	done
}
