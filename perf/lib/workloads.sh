# SPDX-License-Identifier: GPL-2.0-only
# What is measured without delay, and how one figure is taken.
# shellcheck shell=bash

all_workloads=(pingpong pingpong-1k pingpong-16k pingpong-1cpu bulk bulk-4
	bulk-64 bulk-256k bulk-own connrate paced pace paced-64k pace-64k memory
	delay files loss bpf compile load)

passing="pass pass-tc"
segment="xdp tc udplite udplite-tc"
message="message message-udplite"
declare -A systems_of=(
	[pingpong]="plain $passing $segment udplite-headers $message copying fou"
	[pingpong-1k]="plain $passing $segment $message copying fou"
	[pingpong-16k]="plain $passing $segment $message copying fou"
	# A proxy would be on the other CPU
	[pingpong-1cpu]="plain $passing $segment udplite-headers fou"
	# The message path leaves these to TCP; copying loses bytes for good.
	[bulk]="plain $passing segmented $segment udplite-headers $message fou"
	[bulk-4]="plain $passing $segment $message fou"
	[bulk-64]="plain $passing $segment $message fou"
	[bulk-256k]="plain $passing segmented xdp-strict $segment udplite-headers fou"
	[bulk-own]="plain $passing $segment fou"
	[connrate]="plain $passing $segment $message fou"
	[paced]="plain pass-tc tc $message copying fou"
	[pace]="plain tc $message copying fou"
	[paced-64k]="plain $message copying"
	[pace-64k]="plain message copying"
	[memory]="plain xdp tc udplite $message copying"
	[files]="plain pass $segment $message copying fou"
	[loss]="plain $segment $message fou"
	[bpf]="$passing $segment xdp-strict udplite-headers $message"
)

is_wanted()
{
	[[ " ${workloads[*]} " = *" $1 "* ]]
}

# measured_on WORKLOAD: those of the systems that are here
measured_on()
{
	local s

	for s in ${systems_of[$1]}; do
		[[ " ${systems[*]} " != *" $s "* ]] || echo "$s"
	done
}

# in_turn ROUND SYSTEM...: beginning with another one in each round
in_turn()
{
	local n=$((($1 - 1) % ($# - 1)))

	shift
	echo "${@:n+1}" "${@:1:n}"
}

# ---- one sample ----

# workload_command SYSTEM WORKLOAD [ARG [KEY-OF-SECONDS]]: sets the array workload
workload_command()
{
	local s=$1 w=$2 to prefix

	to=$(address_for "$s")
	case $w in
	*-1cpu) within "$s" client "$server_cpu" ;;
	*) within "$s" client "$client_cpu" ;;
	esac
	case $w in
	pingpong-1k) workload=("$bin/pingpong" client "$to" 7001 -n 1024) ;;
	pingpong-16k) workload=("$bin/pingpong" client "$to" 7001 -n 16384) ;;
	loss-pingpong*)
		workload=("$bin/pingpong" client "$to" 7001 -n 16384 -w 0.5)
		;;
	pingpong-delay)
		workload=("$bin/pingpong" client "$to" 7001 -n 64 -w 0.5)
		;;
	pingpong*) workload=("$bin/pingpong" client "$to" 7001 -n 64) ;;
	bulk-own)
		workload=("$bin/stream" paced "$to" 7004 0 -n 131072
			-t "${seconds[bulk-own]}")
		;;
	bulk*) workload=(iperf3 -c "$to" -p 7003 -t "${seconds[$w]}" -J) ;;
	connrate)
		workload=("$bin/connrate" client "$to" 7002 -c 16
			-t "${seconds[connrate]}" -j)
		;;
	paced*)
		workload=("$bin/stream" paced "$to" 7004 "${3:-$pace}"
			-t "${seconds[${4:-paced}]}")
		[ "$w" != paced-64k ] || workload+=(-n 65536)
		;;
	memory) workload=("$bin/stream" hold "$to" 7004 "$held") ;;
	file-*)
		workload=("$bin/stream" file "$to" 7004 "$3")
		[[ $w != *-kept ]] || workload+=(-k)
		;;
	loss-*) workload=(iperf3 -c "$to" -p 7003 -t "${seconds[loss]}" -J) ;;
	esac
	case $w in
	loss-pingpong*) workload+=(-t "${seconds[loss]}" -j) ;;
	pingpong*) workload+=(-t "${seconds[$w]}" -j) ;;
	bulk-256k) workload+=(-w 256K) ;;
	bulk-4) workload+=(-P 4) ;;
	bulk-64) workload+=(-P 64) ;;
	esac
	workload=(timeout -k 5 "$limit" "$lab" exec "${lab_of[$s]}" client
		"${prefix[@]}" "${workload[@]}")
}

figures()
{
	case $1 in
	bulk-own | loss-pingpong*) cat ;;
	bulk* | loss*) "$bin/report" iperf3 ;;
	*) cat ;;
	esac
}

# raw KIND SYSTEM WORKLOAD ROUND DATA [ROUTER [CPU [MESSAGE-BYTES]]]
raw()
{
	printf '{"kind":"%s","system":"%s","workload":"%s","round":%d,' \
		"${@:1:4}" >>"$dir/raw.jsonl"
	printf '"data":%s,"router":%s,"cpu":%s,"message_bytes":%s}\n' \
		"$5" "${6:-null}" "${7:-null}" "${8:-null}" >>"$dir/raw.jsonl"
}

# Payload that the proxies of both hosts have sent: as datagrams, and again over
# the control channel
message_bytes()
{
	local host

	for host in "${hosts[@]}"; do
		on_host "$1" "$host" "$shunt" stats -j
	done | awk -F'[:,]' '
		/^{/ { parts = 0 }
		/"loops"/ { parts = 1 } # whose sum has been above
		!parts && /"(bytes_tx|repaired)"/ { n += $2 }
		END { printf "%.0f", n }'
}

is_message()
{
	[[ $1 = message* ]]
}

# sample SYSTEM WORKLOAD ROUND [ARG...]: what it printed is left in $data. That a
# sample failed is said, and the run goes on; at its end it is an error.
sample()
{
	local s=$1 w=$2 round=$3 router before='' after='' workload status=0 g
	local groups=()

	workload_command "$s" "$w" "${@:4}"
	for g in client server client-proxy server-proxy; do
		groups+=("$g=$cgroups/$s-$g")
	done
	! is_message "$s" || before=$(message_bytes "$s")
	data=$("$bin/measure" "$dir/cpu" "${groups[@]}" -- \
		"${workload[@]}" 2>"$dir/log" | figures "$w" 2>>"$dir/log") ||
		status=$?
	router=$("$lab" count "${lab_of[$s]}" reset)
	if [ $status != 0 ] || [ -z "$data" ]; then
		data=$(tail -n 1 "$dir/log")
		data=${data//[\"\\]/\'}
		echo "perf: $w, $s: failed ($status): $data" >&2
		raw failed "$s" "$w" "$round" "\"$data\""
		# That one loses bytes, and with them whole conversations.
		[ "$s" = copying ] || failed=$((failed + 1))
		data=
		return
	fi
	! is_message "$s" || after=$(($(message_bytes "$s") - before))
	raw sample "$s" "$w" "$round" "$data" "$router" "$(<"$dir/cpu")" "$after"
}

# ---- the highest pace ----

# A pace is sustained if all bytes are there not later than 5% of the time after
# the last was due; on the message path also only if they took it.
is_sustained()
{
	local s=$1 last_line

	[[ $data = *'"sustained":true'* ]] || return 1
	is_message "$s" || return 0
	last_line=$(tail -n 1 "$dir/raw.jsonl")
	awk -v sent="$(sed 's/.*"payload":\([0-9]*\).*/\1/' <<<"$data")" \
		-v path="$(sed 's/.*"message_bytes":\([0-9]*\).*/\1/' \
			<<<"$last_line")" 'BEGIN { exit !(path >= 0.95 * sent) }'
}

# find_pace SYSTEM WORKLOAD ROUND: twice as fast as long as that goes, then halfway
# between what went and what did not. Each step is a sample of its own (workload
# "step").
find_pace()
{
	local s=$1 w=$2 round=$3 rate=$((2 * pace)) low=0 high=0 best='' i
	local -A kept=()

	for ((i = 0; i < 12; i++)); do
		sample "$s" "${w/pace/paced}" "$round" "$rate" "${w/pace/step}"
		sed -i '$s/"workload":"paced[^"]*"/"workload":"step"/' \
			"$dir/raw.jsonl"
		if [ -n "$data" ] && is_sustained "$s"; then
			low=$rate
			best=$(tail -n 1 "$dir/raw.jsonl")
		else
			high=$rate
		fi
		if [ $high = 0 ]; then
			rate=$((2 * rate))
		elif [ $((high - low)) -lt $((low / 8 + 20000000)) ]; then
			break
		else
			rate=$(((low + high) / 2))
		fi
	done
	[ -z "$best" ] ||
		sed "s/\"workload\":\"step\"/\"workload\":\"$w\"/" <<<"$best" \
			>>"$dir/raw.jsonl"
}

# ---- rounds ----

# The first connection proves the path to the peer; short as they are, none
# of its figures are kept.
warm_up()
{
	local s workload

	for s in "${systems[@]}"; do
		[ -n "${lab_of[$s]-}" ] || continue
		workload_command "$s" pingpong
		"${workload[@]}" >/dev/null 2>"$dir/log" ||
			die "$s does not work: $(<"$dir/log")"
		"$lab" count "${lab_of[$s]}" reset >/dev/null
	done
}

measure_rounds()
{
	local round w s

	for ((round = 1; round <= rounds; round++)); do
		for w in "${here_workloads[@]}"; do
			progress "round $round of $rounds: $w"
			# shellcheck disable=SC2046
			for s in $(in_turn "$round" $(measured_on "$w")); do
				case $w in
				pace | pace-64k) find_pace "$s" "$w" "$round" ;;
				*) sample "$s" "$w" "$round" ;;
				esac
			done
			did "$w"
		done
	done
}
