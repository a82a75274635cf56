# SPDX-License-Identifier: GPL-2.0-only
# How much is measured in which mode, and how long that takes.
# shellcheck shell=bash

server_addr=10.77.2.2
tcp_rmem="4096 131072 6291456"
tcp_wmem="4096 16384 4194304"

# Bits per second that all systems of `paced` manage; `pace` begins with twice that
pace=400000000
held=1000 # connections
kept_files="3k 510k 26m"
limit=60 # seconds that no sample takes
message_options=

# iperf3's (bulk, loss) are whole seconds.
declare -A seconds repeat

choose_mode()
{
	case $mode in
	full)
		systems=("${all_systems[@]}")
		workloads=("${all_workloads[@]}")
		rounds=4 delay_rounds=3 ups=15 compilations=5
		seconds=([pingpong]=0.6 [pingpong-1k]=0.3 [pingpong-16k]=0.3
			[pingpong-1cpu]=0.5 [bulk]=2 [bulk-4]=1
			[bulk-64]=1 [bulk-256k]=1 [bulk-own]=1
			[connrate]=0.6 [paced]=1 [step]=0.4 [step-64k]=2
			[memory]=1 [loss]=2)
		repeat=([3k]=2 [510k]=2 [26m]=1)
		;;
	quick)
		systems=(plain pass pass-tc xdp xdp-strict tc udplite udplite-tc message
			message-udplite copying fou)
		workloads=(pingpong pingpong-1cpu pingpong-16k bulk bulk-256k
			bulk-64 connrate paced pace memory delay files bpf
			compile load)
		rounds=1 delay_rounds=1 ups=5 compilations=1
		seconds=([pingpong]=0.3 [pingpong-16k]=0.2 [pingpong-1cpu]=0.3
			[pingpong-1k]=0.2 [bulk]=1 [bulk-4]=1 [bulk-64]=1
			[bulk-256k]=1 [bulk-own]=0.5 [connrate]=0.3 [paced]=0.6
			[step]=0.3 [memory]=1 [loss]=2)
		repeat=([3k]=1 [510k]=1 [26m]=1)
		kept_files="3k 510k"
		;;
	guest)
		systems=(plain pass xdp tc udplite message message-udplite copying
			fou)
		workloads=(pingpong pingpong-1k pingpong-16k bulk bulk-4
			connrate paced memory delay files loss bpf load)
		rounds=2 delay_rounds=1 ups=3 compilations=1
		seconds=([pingpong]=1 [pingpong-16k]=1 [pingpong-1cpu]=1
			[pingpong-1k]=1 [bulk]=1 [bulk-4]=1 [bulk-64]=1
			[bulk-256k]=1 [bulk-own]=1 [connrate]=1 [paced]=1
			[step]=1 [step-64k]=1 [memory]=5 [loss]=2)
		repeat=([3k]=1 [510k]=1 [26m]=1)
		pace=20000000 held=50 limit=300
		message_options="--message-memory 32M --flows 20000"
		files=(3k 510k)
		;;
	esac
	seconds+=([pingpong-direct]=0.5 [pingpong-path]=0.5 [pingpong-delay]=1.5
		[bulk-direct]=1 [bulk-path]=1 [bulk-delay]=3)
	[ -z "$given_systems" ] || read -ra systems <<<"$given_systems"
	[ -z "$given_workloads" ] || read -ra workloads <<<"$given_workloads"
	[ -z "$given_rounds" ] ||
		rounds=$given_rounds delay_rounds=$given_rounds
}

# ---- progress ----

expected=0 # nominal seconds in all
done_so_far=0

# Nominal seconds of all samples of a workload in one round
nominal()
{
	local n s

	n=$(measured_on "$1" | wc -l)
	case $1 in
	files) s=$((repeat[3k] + repeat[510k] * 2 + repeat[26m] * 3)) ;;
	loss) s=$(awk -v s="${seconds[loss]}" 'BEGIN { print 4 * s + 3 }') ;;
	pace | pace-64k)
		s=$(awk -v s="${seconds[${1/pace/step}]}" 'BEGIN { print 8 * s + 3 }')
		;;
	paced-64k) s=${seconds[paced]} ;;
	*) s=${seconds[$1]} ;;
	esac
	awk -v n="$n" -v s="$s" 'BEGIN { print n * (s + 0.3) }'
}

sum()
{
	awk 'BEGIN { for (i = 1; i < ARGC; i++) s += ARGV[i]
		printf "%d", s }' "$@"
}

# Which of the wanted workloads measure_rounds does, and how long all will take.
# Labs and costs are some seconds each.
plan()
{
	local w i

	here_workloads=()
	for w in "${workloads[@]}"; do
		case $w in
		delay) ;;
		files | loss)
			for ((i = 0; i < delay_rounds; i++)); do
				expected=$(sum "$expected" "$(nominal "$w")")
			done
			;;
		bpf) expected=$((expected + 2 * ${#systems[@]})) ;;
		load) expected=$((expected + ups)) ;;
		compile) expected=$((expected + 3 * (compilations + 1))) ;;
		*)
			here_workloads+=("$w")
			for ((i = 0; i < rounds; i++)); do
				expected=$(sum "$expected" "$(nominal "$w")")
			done
			;;
		esac
	done
	expected=$((expected + 2 * ${#systems[@]} + 10))
	started=$SECONDS
}

did()
{
	done_so_far=$(sum "$done_so_far" "$(nominal "$1")")
}

# did_seconds N: what has no rounds
did_seconds()
{
	done_so_far=$((done_so_far + $1))
}

# Elapsed, and how much more at the rate so far
progress()
{
	local left=''

	if [ "$done_so_far" -gt 0 ]; then
		left=$(((expected - done_so_far) * (SECONDS - started) /
			done_so_far))
		left=", $left s to go"
	elif [ "$expected" -gt 0 ]; then
		left=", some $expected s to go"
	fi
	printf '[%3d s%s] %s\n' "$SECONDS" "$left" "$*" >&2
}
