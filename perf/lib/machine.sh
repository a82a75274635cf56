# SPDX-License-Identifier: GPL-2.0-only
# Where it is measured: what is pinned, and what is recorded.
# shellcheck shell=bash

# All, and stolen by the hypervisor: jiffies of all CPUs since boot
read_jiffies()
{
	local cpu j all=0

	read -ra cpu </proc/stat
	for j in "${cpu[@]:1:8}"; do
		all=$((all + j))
	done
	echo "$all ${cpu[8]}"
}

find_commit()
{
	local git=(git -C "$root" -c "safe.directory=*")

	commit=$("${git[@]}" rev-parse --short=10 HEAD 2>/dev/null) ||
		commit=unknown
	[ "$commit" = unknown ] ||
		[ -z "$("${git[@]}" status --porcelain)" ] || commit+=-dirty
}

# ---- frequency ----

governors=/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor
declare -A governor_before=()
frequency="no cpufreq here: a virtual machine's host decides"

# CPUs that neither slow down nor sleep deeply, where we can say so. The latter
# holds for as long as the file is open.
pin_frequency()
{
	local f

	for f in $governors; do
		[ -w "$f" ] || continue
		governor_before[$f]=$(<"$f")
		if echo performance 2>/dev/null >"$f"; then
			frequency="governor performance"
		else
			frequency="governor $(<"$f")"
		fi
	done
	if [ -w /dev/cpu_dma_latency ]; then
		exec {dma_latency}>/dev/cpu_dma_latency
		printf '\0\0\0\0' >&"$dma_latency"
		frequency+="; no deep sleep (cpu_dma_latency 0)"
	fi
}

restore_frequency()
{
	local f

	for f in "${!governor_before[@]}"; do
		echo "${governor_before[$f]}" 2>/dev/null >"$f" || true
	done
}

# ---- what is recorded ----

first_line()
{
	"$@" 2>/dev/null | sed -n 1p || true
}

describe()
{
	local all steal permille spectre emulated=

	read -r all steal < <(read_jiffies)
	permille=$((1000 * (steal - steal_before) / (all - all_before + 1)))
	spectre=$(first_line cat \
		/sys/devices/system/cpu/vulnerabilities/spectre_v2)
	[ -z "${SHUNT_GUEST-}" ] || emulated="in QEMU; \
$SHUNT_TIME_FACTOR times slower than the machine that emulates it"
	"$bin/report" meta \
		"date=$date" "commit=$commit" \
		"mode=$mode, $rounds rounds, with delay $delay_rounds" \
		"kernel=$(uname -srm)" \
		"cpu=$(sed -n 's/^model name\t*: //p' /proc/cpuinfo |
			head -n 1), $(nproc) CPUs; spectre v2: $spectre" \
		"pinning=client and its proxy on CPU $client_cpu, server and its on CPU $server_cpu" \
		"frequency=$frequency" \
		"tcp=cubic (by the routes), no metrics kept, IPv4" \
		"buffers=tcp_rmem $tcp_rmem; tcp_wmem $tcp_wmem; rmem_max $(
			cat /proc/sys/net/core/rmem_max); tcp_mem $(
			tr '\t' ' ' </proc/sys/net/ipv4/tcp_mem) pages" \
		"link=veth, MTU 1500, through a router on CPU $server_cpu; native XDP" \
		"load_before=$load_before" \
		"load_after=$(cut -d' ' -f1-3 /proc/loadavg)" \
		"steal_percent=$((permille / 10)).$((permille % 10))" \
		"took=$SECONDS s" ${emulated:+"emulated=$emulated"} \
		"versions=$(first_line "$shunt" version); $(
			first_line iperf3 --version); $(
			first_line clang --version); $(
			first_line ip -V)" >>"$dir/raw.jsonl"
}
