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
		commands[$o]=$(cd "$here/.." && make -n -j1 V=1 B="$scratch" \
			"$scratch/${target[$o]}" 2>/dev/null) ||
			die "make -n ${target[$o]}: failed"
		(cd "$here/.." && set -e && eval "${commands[$o]}") ||
			die "${target[$o]}: does not compile"
		commands[$o]=$(grep -E -- ' -c | gen object ' \
			<<<"${commands[$o]}")
	done
	for ((round = 0; round < compilations; round++)); do
		for o in "${objects[@]}"; do
			before=${EPOCHREALTIME/./}
			(cd "$here/.." && eval "${commands[$o]}")
			after=${EPOCHREALTIME/./}
			times[$o]+=${times[$o]:+,}$((after - before))
		done
	done
	for o in "${objects[@]}"; do
		raw compile none "$o" 1 "[${times[$o]}]"
	done
}

# ---- loading ----

# Prints WHAT [...], a line for each: of `up` the microseconds, of transports
# what `add -j` says, whose clock starts when the file is read. shunt is down
# before and after.
# shellcheck disable=SC2016
time_loading='
set -eu
export LC_ALL=C
shunt=$1 up= udplite= owd=
for ((i = 0; i < $4; i++)); do
	before=${EPOCHREALTIME/./}
	"$shunt" up --dev eth0 --ingress xdp --cgroup "$2" --flows 200000 \
		>/dev/null
	after=${EPOCHREALTIME/./}
	up+=,$((after - before))
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

	progress "memory, and $ups times shunt up and shunt transport add"
	data=$("$bin/bpfcost" maps "$(netns xdp client)")
	raw maps xdp none 1 "$data"
	"$lab" exec "${lab_of[xdp]}" client "$shunt" down >/dev/null
	data=$("$lab" exec "${lab_of[xdp]}" client bash -c "$time_loading" - \
		"$shunt" "$cgroups/xdp-client" "$dir/compiled/docs/owd.bpf.o" \
		"$ups")
	while read -r what times; do
		raw load xdp "$what" 1 "$times"
	done <<<"$data"
	rm -r "$dir/compiled"
}
