# SPDX-License-Identifier: GPL-2.0-only
# What is compared: a lab for each, with its programs and servers.
# shellcheck shell=bash

all_systems=(plain pass pass-tc segmented xdp xdp-strict tc udplite udplite-headers
	udplite-tc message message-udplite copying fou)
hosts=(client server)
declare -A lab_of=()
cgroups=

# What shunt is told in these
declare -A up_options=(
	[xdp]="--ingress xdp"
	[xdp-strict]="--ingress xdp --strict"
	[tc]="--ingress tc"
	[udplite]="--ingress xdp --default udplite"
	[udplite-headers]="--ingress xdp --default udplite --coverage headers"
	[udplite-tc]="--ingress tc --default udplite"
	[message]="--ingress tc --message-path"
	[message-udplite]="--ingress tc --message-path --default udplite"
)
declare -A rule=(
	[message]="--path message --transport udp"
	[message-udplite]="--path message --transport udplite"
)
servers=(
	"$bin/pingpong server 7001"
	"$bin/connrate server 7002"
	"iperf3 -s -p 7003"
	"$bin/stream server 7004"
)

# A cgroup for each host, so that a connection is seen by the sock_ops of its
# own host's instance and by no other, as on real machines; and one for its proxy.
make_cgroups()
{
	local s host

	cgroups=$cgroup_root/shunt-perf-$$
	mkdir "$cgroups"
	for s in "${systems[@]}"; do
		for host in "${hosts[@]}"; do
			mkdir "$cgroups/$s-$host" "$cgroups/$s-$host-proxy"
		done
	done
}

netns()
{
	echo "/run/netns/${lab_of[$1]}-$2"
}

on_host()
{
	"$lab" exec "${lab_of[$1]}" "${@:2}"
}

cpu_of()
{
	case $1 in
	client*) echo "$client_cpu" ;;
	*) echo "$server_cpu" ;;
	esac
}

# within SYSTEM GROUP CPU: sets the array prefix, which runs the command that
# follows it in this cgroup and on this CPU
within()
{
	# shellcheck disable=SC2016
	prefix=(bash -c 'echo $$ >"$1"; shift; exec "$@"' -
		"$cgroups/$1-$2/cgroup.procs" taskset -c "$3")
}

# The router forwards all packets on one CPU, the server's. Without that it
# does on the CPU that has sent them, and since TCP sends from system calls on
# one and from acknowledgements on another, they overtake each other there.
# shellcheck disable=SC2016
pin_router()
{
	ip netns exec "${lab_of[$1]}-router" bash -c '
		for dev in rc rs; do
			echo "$1" >/sys/class/net/$dev/queues/rx-0/rps_cpus
		done' - "$(printf %x $((1 << server_cpu)))"
}

# The kernel's defaults, whatever they are on this machine
pin_buffers()
{
	on_host "$1" "$2" sysctl -qw net.ipv4.tcp_rmem="$tcp_rmem" \
		net.ipv4.tcp_wmem="$tcp_wmem"
}

# Says why this system can't be measured here, or nothing.
why_not()
{
	case $1 in
	copying)
		[ -x "$bin/copying" ] || echo "build/perf/copying is not there"
		;;
	fou)
		# `ip fou` alone does not have it loaded.
		modprobe -q -a fou ipip 2>/dev/null || true
		unshare -n sh -c '
			ip fou add port 5555 ipproto 4 &&
			ip link add fou0 type ipip remote 10.0.0.1 \
				local 10.0.0.2 ttl 64 encap fou \
				encap-sport auto encap-dport 5555' 2>&1 |
			tail -n 1 | sed 's/^/not on this kernel: /' || true
		;;
	esac
}

# Takes those out that can't be measured, and notes why.
leave_out()
{
	local s why kept=()

	for s in "${systems[@]}"; do
		why=$(why_not "$s")
		if [ -n "$why" ]; then
			progress "without $s: $why"
			raw missing "$s" none 0 "\"${why//\"/\'}\""
		else
			kept+=("$s")
		fi
	done
	systems=("${kept[@]}")
}

start_pass()
{
	local s=$1 host=$2

	[ "$s" = pass-tc ] || "$bin/bpfcost" attach "$(netns "$s" "$host")" \
		"$bin/pass.bpf.o" xdp
	"$bin/bpfcost" attach "$(netns "$s" "$host")" "$bin/pass.bpf.o" tc
	[ "$s" != segmented ] || on_host "$s" "$host" ethtool -K eth0 tso off
}

start_shunt()
{
	local s=$1 host=$2 prefix

	within "$s" "$host-proxy" "$(cpu_of "$host")"
	# shellcheck disable=SC2086
	on_host "$s" "$host" "${prefix[@]}" "$shunt" up --dev eth0 \
		${up_options[$s]} $(is_message "$s" && echo $message_options) \
		--cgroup "$cgroups/$s-$host" >/dev/null
	# shellcheck disable=SC2086
	[ -z "${rule[$s]-}" ] || on_host "$s" "$host" \
		"$shunt" policy add ${rule[$s]} >/dev/null
}

says_ready()
{
	grep -q ready "$1"
}

start_copying()
{
	local s=$1 host=$2 prefix pid peer=server

	[ "$host" = client ] || peer=client
	within "$s" "$host-proxy" "$(cpu_of "$host")"
	pid=$("$lab" start "${lab_of[$s]}" "$host" "${prefix[@]}" \
		"$bin/copying" --cgroup "$cgroups/$s-$host" \
		--local "$("$lab" addr "${lab_of[$s]}" "$host")" \
		--peer "$("$lab" addr "${lab_of[$s]}" $peer)")
	poll 10 says_ready "/run/shunt-lab/${lab_of[$s]}/$pid.log" ||
		die "copying: $(cat "/run/shunt-lab/${lab_of[$s]}/$pid.log")"
}

# The tunnel's own addresses: 10.78.0.1 and .2
start_fou()
{
	local s=$1 host=$2 n=1 peer=server

	[ "$host" = client ] || n=2 peer=client
	on_host "$s" "$host" ip fou add port 5555 ipproto 4
	on_host "$s" "$host" ip link add fou0 type ipip \
		local "$("$lab" addr "${lab_of[$s]}" "$host")" \
		remote "$("$lab" addr "${lab_of[$s]}" $peer)" ttl 64 \
		encap fou encap-sport auto encap-dport 5555
	on_host "$s" "$host" ip addr add 10.78.0.$n/32 dev fou0
	on_host "$s" "$host" ip link set fou0 up
	on_host "$s" "$host" ip route add 10.78.0.$((3 - n)) dev fou0 \
		src 10.78.0.$n congctl cubic
}

# make_system SYSTEM [OPTION OF LAB...]
make_system()
{
	local s=$1 host

	lab_of[$s]=$("$lab" up --owner $$ "${@:2}")
	pin_router "$s"
	for host in "${hosts[@]}"; do
		pin_buffers "$s" "$host"
		case $s in
		plain) ;;
		pass | pass-tc | segmented) start_pass "$s" "$host" ;;
		copying) start_copying "$s" "$host" ;;
		fou) start_fou "$s" "$host" ;;
		*) start_shunt "$s" "$host" ;;
		esac
	done
	start_servers "$s"
}

start_servers()
{
	local s=$1 server prefix

	within "$s" server "$server_cpu"
	for server in "${servers[@]}"; do
		# shellcheck disable=SC2086
		"$lab" start "${lab_of[$s]}" server "${prefix[@]}" $server \
			>/dev/null
	done
	for server in 7001 7002 7003 7004; do
		"$lab" wait "${lab_of[$s]}" server tcp "$server" 20
	done
}

address_for()
{
	[ "$1" = fou ] && echo 10.78.0.2 || echo "$server_addr"
}

remove_systems()
{
	local s host

	for s in "${!lab_of[@]}"; do
		[ -n "${up_options[$s]-}" ] || continue
		for host in "${hosts[@]}"; do
			on_host "$s" "$host" "$shunt" down >/dev/null 2>&1 ||
				true
		done
	done
	for s in "${!lab_of[@]}"; do
		"$lab" down "${lab_of[$s]}" || true
	done
	lab_of=()
}

remove_cgroups()
{
	[ ! -d "$cgroups" ] ||
		find "$cgroups" -depth -type d -exec rmdir {} + || true
}
