# SPDX-License-Identifier: GPL-2.0-only
# What it takes to get the programs in: compilation, loading, memory. The first
# rows of the paper's Table II.
# shellcheck shell=bash

# ---- compilation ----

objects=(hooks udp udplite owd)
declare -A target=(
	[hooks]=shunt.bpf.o
	[udp]=bpf/transports/udp.bpf.o
	[udplite]=bpf/transports/udplite.bpf.o
	[owd]=docs/owd.bpf.o
)

# The Makefile's own commands, into a directory where nothing is yet: all of
# them once, which also warms caches; then those that compile, on the clock.
# Nothing of it runs in parallel.
measure_compilation()
{
	local scratch=$dir/compiled round o before after
	local -A commands times

	progress "compilation, $compilations times"
	mkdir "$scratch"
	for o in "${objects[@]}"; do
		# As if no make had called us, which would have it say more.
		commands[$o]=$(cd "$root" && env -u MAKEFLAGS -u MAKELEVEL \
			-u MFLAGS make -n -j1 V=1 B="$scratch" \
			"$scratch/${target[$o]}" 2>/dev/null) ||
			die "make -n ${target[$o]}: failed"
		(cd "$root" && set -e && eval "${commands[$o]}") ||
			die "${target[$o]}: does not compile"
		commands[$o]=$(grep -E -- ' -c | gen object ' \
			<<<"${commands[$o]}")
	done
	for ((round = 0; round < compilations; round++)); do
		for o in "${objects[@]}"; do
			before=${EPOCHREALTIME/./}
			(cd "$root" && eval "${commands[$o]}")
			after=${EPOCHREALTIME/./}
			times[$o]+=${times[$o]:+,}$((after - before))
		done
	done
	for o in "${objects[@]}"; do
		raw compile none "$o" 1 "[${times[$o]}]"
	done
	rm -r "$scratch"
}

# ---- loading ----

# Prints WHAT [...], a line for each: of `up` seconds and CPU seconds, of transports
# what `add -j` says, whose clock starts when the file is read. shunt is down
# before and after.
# shellcheck disable=SC2016
time_loading='
set -eu
export LC_ALL=C
shunt=$1 up= udplite= owd=
TIMEFORMAT="%R %U %S"
for ((i = 0; i < $4; i++)); do
	read -r wall user system < <( { time "$shunt" up --dev eth0 \
		--ingress xdp --cgroup "$2" --flows 200000 >/dev/null; } 2>&1)
	up+=",{\"wall_s\":$wall,\"cpu_s\":$(awk -v u="$user" -v s="$system" \
		"BEGIN { print u + s }")}"
	"$shunt" transport remove udplite
	udplite+=,$("$shunt" transport add udplite -j | tr -d "\n")
	owd+=,$("$shunt" transport add "$3" -j | tr -d "\n")
	"$shunt" down >/dev/null
done
for what in up udplite owd; do
	times=${!what}
	echo "$what [${times#,}]"
done
'

measure_loading()
{
	local data what times

	progress "$ups times shunt up and shunt transport add"
	on_host plain client "$shunt" up --dev eth0 --ingress xdp \
		--cgroup "$cgroups/plain-client" >/dev/null
	data=$("$bin/bpfcost" maps "$(netns plain client)")
	on_host plain client "$shunt" down >/dev/null
	raw maps plain none 1 "$data"
	data=$(on_host plain client bash -c "$time_loading" - "$shunt" \
		"$cgroups/plain-client" "$build/docs/owd.bpf.o" "$ups")
	while read -r what times; do
		raw load plain "$what" 1 "$times"
	done <<<"$data"
}

# ---- run time of BPF programs ----

bpf_workloads_of()
{
	case $1 in
	message*) echo pingpong paced ;;
	xdp-strict) echo bulk-256k ;;
	pass*) echo pingpong-1cpu bulk-256k connrate ;;
	xdp | tc) echo pingpong-1cpu bulk-256k bulk connrate ;;
	*) echo pingpong-1cpu bulk-256k ;;
	esac
}

# Apart from the rest: the statistics cost time themselves.
measure_bpf()
{
	local s w data workload

	for s in $(measured_on bpf); do
		progress "BPF run time: $s"
		for w in $(bpf_workloads_of "$s"); do
			workload_command "$s" "$w"
			data=$("$bin/bpfcost" run \
				client="$(netns "$s" client)" \
				server="$(netns "$s" server)" \
				-- "${workload[@]}" 2>"$dir/log") ||
				die "BPF run time, $w, $s: $(tail -n 3 "$dir/log")"
			raw bpf "$s" "$w" 1 "$data"
			raw bpf-during "$s" "$w" 1 "$(figures "$w" <"$dir/log")"
		done
	done
}

# ---- proxies ----

# kB of all processes of a proxy's cgroup: resident, locked, pinned (io_uring)
measure_proxies()
{
	local s host pids

	for s in $(measured_on memory); do
		for host in "${hosts[@]}"; do
			mapfile -t pids <"$cgroups/$s-$host-proxy/cgroup.procs"
			[ ${#pids[@]} -gt 0 ] || continue
			pids=("${pids[@]/#//proc/}")
			pids=("${pids[@]/%//status}")
			raw proxy "$s" "$host" 1 "$(awk '
				/^VmRSS/ { rss += $2 } /^VmLck/ { locked += $2 }
				/^VmPin/ { pinned += $2 }
				END { printf "{\"rss\":%d,\"locked\":%d," \
					"\"pinned\":%d}", rss, locked, pinned
				}' "${pids[@]}")"
		done
	done
}
