# SPDX-License-Identifier: GPL-2.0-only
# A round trip of 50 ms: the paper's three files, and loss. The delay is made by
# netem where the kernel has it, else by the testbed's own wire, whose own cost and
# ceiling are measured first.
# shellcheck shell=bash

# 3 KB, 510 KB, 26 MB
files=(3k 510k 26m)
declare -A file_size=([3k]=3072 [510k]=$((510 * 1024)) [26m]=$((26 << 20)))
one_way=25ms
losses=(0.1 1)

find_delay()
{
	local name

	delay_by=wire
	name=$("$lab" up --owner $$)
	"$lab" fault "$name" --netem delay=$one_way 2>/dev/null &&
		delay_by=netem
	"$lab" down "$name"
}

# set_path SYSTEM SPEC|none
set_path()
{
	if [ $delay_by = wire ]; then
		"$lab" fault "${lab_of[$1]}" "$2"
	else
		"$lab" fault "${lab_of[$1]}" --netem "$2" 2>/dev/null
	fi
}

# make_delayed SYSTEM SPEC: with the delay from the beginning, as a path of 50 ms is.
# (A proxy that has learned a round trip of 0.1 ms takes 50 ms for a dead path.)
make_delayed()
{
	if [ $delay_by = wire ]; then
		make_system "$1" --wire "$2"
	else
		make_system "$1"
		[ -z "$2" ] || set_path "$1" "$2"
	fi
}

# Plain TCP without the delay, through it with no delay set, and with it. Alone:
# no other lab is up yet.
measure_delay()
{
	local direct path

	progress "the delay's own cost and ceiling ($delay_by)"
	make_system plain
	sample plain pingpong-direct 1
	direct=$data
	sample plain bulk-direct 1
	progress "direct: round trip $(p50_us "$direct") us," \
		"bulk $(gbits "$data") Gbit/s"
	remove_systems
	make_delayed plain ""
	sample plain pingpong-path 1
	path=$data
	sample plain bulk-path 1
	progress "$delay_by, no delay: round trip $(p50_us "$path") us," \
		"bulk $(gbits "$data") Gbit/s: its ceiling"
	set_path plain delay=$one_way
	sample plain pingpong-delay 1
	path=$data
	sample plain bulk-delay 1
	progress "$delay_by, $one_way each way: round trip $(p50_us "$path")" \
		"us, bulk $(gbits "$data") Gbit/s"
	[ $delay_by != wire ] || raw wire plain none 1 \
		"$("$lab" wire-stats "${lab_of[plain]}")"
	raw delay plain none 1 "\"$delay_by\""
}

p50_us()
{
	sed 's/.*"p50_ns":\([0-9]*\).*/\1/' <<<"$1" |
		awk '{ printf "%.0f", $1 / 1000 }'
}

gbits()
{
	sed 's/.*"bits_per_second":\([0-9.e+]*\).*/\1/' <<<"$1" |
		awk '{ printf "%.2f", $1 / 1e9 }'
}

# Small files more often: each is only a few packets.
measure_files()
{
	local round=$1 f s again kept

	for f in "${files[@]}"; do
		for ((again = 1; again <= repeat[$f]; again++)); do
			for kept in "" -kept; do
				[ -z "$kept" ] || [[ $kept_files = *$f* ]] ||
					continue
				# shellcheck disable=SC2046
				for s in $(in_turn $((round + again)) \
					$(measured_on files)); do
					sample "$s" "file-$f$kept" \
						$(((round - 1) * repeat[$f] + again)) \
						"${file_size[$f]}"
				done
			done
		done
	done
}

# The same packets of each system are lost, and others in the next round.
measure_loss()
{
	local round=$1 p s

	for p in "${losses[@]}"; do
		for s in $(measured_on loss); do
			set_path "$s" "delay=$one_way,loss=$p%,seed=$round"
			sample "$s" "loss-$p" "$round"
			sample "$s" "loss-pingpong-$p" "$round"
			set_path "$s" "delay=$one_way"
		done
	done
}

measure_delayed()
{
	local s round wanted=()

	for s in "${systems[@]}"; do
		[[ " $(measured_on files | xargs) " != *" $s "* ]] ||
			wanted+=("$s")
	done
	find_delay
	measure_delay
	progress "${#wanted[@]} labs with a delay"
	for s in "${wanted[@]}"; do
		[ "$s" = plain ] || make_delayed "$s" delay=$one_way
	done
	warm_up
	did_seconds $((${#wanted[@]} + 10))
	for ((round = 1; round <= delay_rounds; round++)); do
		if is_wanted files; then
			progress "round $round of $delay_rounds: files, 50 ms"
			measure_files "$round"
			did files
		fi
		if is_wanted loss; then
			progress "round $round of $delay_rounds: loss, 50 ms"
			measure_loss "$round"
			did loss
		fi
	done
}
