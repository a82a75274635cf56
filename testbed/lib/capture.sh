# SPDX-License-Identifier: GPL-2.0-only
# Captures at the router.
# shellcheck shell=bash

cmd_capture()
{
	[ $# -ge 2 ] || bad_usage
	use_lab "$1"
	case $2 in
	start)
		[ $# -ge 3 ] || bad_usage "start: which file?"
		capture_start "${@:3}"
		;;
	stop)
		[ $# = 2 ] || bad_usage
		capture_stop
		;;
	*)
		bad_usage "start or stop, not '$2'"
		;;
	esac
}

is_capturing()
{
	grep -q 'listening on' "$1" || ! is_alive "$2" "$3"
}

capture_start()
{
	local file=$1 device=rs log pid start

	shift
	if [ "${1-}" = side ]; then
		case ${2-} in
		client) device=rc ;;
		server) ;;
		*) bad_usage "side client or side server" ;;
		esac
		shift 2
	fi
	log=$(mktemp "$state/capture.XXXXXX")
	# -Z: otherwise tcpdump becomes a user who may not write the file;
	# -B: 32 MiB, so that nothing is missed
	setsid nsenter --net="/run/netns/$name-router" -- \
		tcpdump -n -U -Z root -B 32768 -i "$device" -w "$file" "$*" \
		</dev/null >/dev/null 2>"$log" &
	pid=$!
	note_process "$pid"
	poll 5 is_capturing "$log" "$pid" "$start" &&
		is_alive "$pid" "$start" ||
		die 1 "capture: tcpdump failed: $(cat "$log")"
	echo "$pid $start $log" >>"$state/captures"
}

# Asked by SIGUSR1, tcpdump says how many packets it has written, and how
# many the kernel has for it. Less the dropped ones, they become the same.
capture_is_drained()
{
	local pid=$1 start=$2 log=$3 before

	before=$(grep -c 'captured, ' "$log") || true
	kill -USR1 "$pid" 2>/dev/null || return 0
	poll 2 capture_answered "$log" "$before" "$pid" "$start"
	awk '/captured, / { done = $2 + 0; n = split($0, f, ", ")
		for (i = 1; i <= n; i++) {
			split(f[i], w, " ")
			if (f[i] ~ /captured/) got = w[w[1] + 0 == w[1] ? 1 : 2]
			if (f[i] ~ /received by filter/) all = w[1]
			if (f[i] ~ /dropped by kernel/) lost = w[1]
		} }
	END { exit !(got + lost >= all) }' "$log"
}

capture_answered()
{
	[ "$(grep -c 'captured, ' "$1")" -gt "$2" ] || ! is_alive "$3" "$4"
}

capture_is_over()
{
	! is_alive "$1" "$2"
}

capture_stop()
{
	local pid start log

	[ -e "$state/captures" ] ||
		die 1 "capture: none runs; begin with: lab capture $name start"
	while read -r pid start log; do
		is_alive "$pid" "$start" ||
			die 1 "capture: tcpdump has died: $(cat "$log")"
		poll 5 capture_is_drained "$pid" "$start" "$log" ||
			echo "lab: capture: the last packets may be missing" >&2
		kill -INT "$pid"
		poll 5 capture_is_over "$pid" "$start" ||
			die 1 "capture: tcpdump ($pid) does not end"
		! grep -E '[1-9][0-9]* packets? dropped by kernel' "$log" |
			tail -n 1 >&2
	done <"$state/captures"
	rm "$state/captures"
}
