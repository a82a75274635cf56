# SPDX-License-Identifier: GPL-2.0-only
# Namespaces, links and addresses.
# shellcheck shell=bash

declare -gA address=(
	[client4]=10.77.1.2 [client6]=fd77:1::2
	[router4]=10.77.1.1 [router6]=fd77:1::1
	[server4]=10.77.2.2 [server6]=fd77:2::2
)

# Each namespace is told all by one shell in it, with its devices as arguments,
# before they are up: a program that starts costs an emulated guest 10 ms.
# Duplicate address detection would keep even link-local addresses unusable for
# a second.
common_sysctls='
set -e
for i in all default "$@"; do
	echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter
	echo 0 >/proc/sys/net/ipv6/conf/$i/accept_dad
	echo 0 >/proc/sys/net/ipv6/conf/$i/dad_transmits
	echo 0 >/proc/sys/net/ipv6/conf/$i/accept_ra
	echo 0 >/proc/sys/net/ipv6/conf/$i/router_solicitations
done
'

# No metrics, or one connection would teach the next.
host_sysctls=$common_sysctls'
echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save
'

router_sysctls=$common_sysctls'
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
'

# veth NAME HOST PEER HOST: for ip -batch
veth()
{
	printf 'link add %s netns %s mtu %d type veth peer name %s netns %s mtu %d\n' \
		"$1" "$name-$2" "$mtu" "$3" "$name-$4" "$mtu"
}

make_devices()
{
	{
		printf "netns add $name-%s\n" client router server
		veth rc router eth0 client
		if [ "$wire" = yes ]; then
			veth rs router w0 router
			veth w1 router eth0 server
		else
			veth rs router eth0 server
		fi
	} | ip -batch -
}

# Into links, for ip -batch: a host's own, in that subnet. Machines differ in
# their congestion control (here: bbr), so it is pinned. By the routes: the sysctl
# takes cubic in a namespace only if the host allows it to everyone, and here it
# does not.
host_links()
{
	links="link set lo up
		addr add 10.77.$1.2/24 dev eth0
		addr add fd77:$1::2/64 dev eth0 nodad
		link set eth0 up
		route add default via 10.77.$1.1 congctl cubic
		route add ::/0 via fd77:$1::1 congctl cubic"
}

configure_server()
{
	local links

	host_links 2
	inside server sh -c "$host_sysctls$1 exec ip -batch -" sh eth0 \
		<<<"$links"
}

configure_router()
{
	inside router sh -c "$router_sysctls$1 exec ip -batch -" sh rc rs <<-END
		link set lo up
		addr add 10.77.1.1/24 dev rc
		addr add 10.77.2.1/24 dev rs
		addr add fd77:1::1/64 dev rc nodad
		addr add fd77:2::1/64 dev rs nodad
		link set rc up
		link set rs up
		$2
	END
}

# The client comes last. A TCP connection to a port where nobody listens is
# refused after one round trip, so both ways work and all neighbours know each
# other. (Not every machine has ping.)
configure_client()
{
	local links said script="$host_sysctls"'
	ip -batch -
	for to in 10.77.2.2 fd77:2::2; do
		until e=$( { : <"/dev/tcp/$to/9"; } 2>&1) || [[ $e = *refused* ]]; do
			echo "lab: the client does not reach $to: $e" >&2
			read -rt 0.01 <><(:) || :
		done
	done'

	host_links 1
	said=$(inside client timeout 20 bash -c "$script" bash eth0 \
		<<<"$links" 2>&1) ||
		die 1 "the client and the server do not meet: ${said:0:500}"
}

parse_up()
{
	mtu=1500
	wire=no
	spec=
	owner=
	while [ $# -gt 0 ]; do
		[ $# -ge 2 ] || bad_usage "$1: what does it mean here?"
		case $1 in
		--mtu) mtu=$2 ;;
		--wire) wire=yes spec=$2 ;;
		--owner) owner=$2 ;;
		*) bad_usage "unknown option '$1'" ;;
		esac
		shift 2
	done
	# below 1280, Linux takes IPv6 off the device
	is_number "$mtu" && [ "$mtu" -ge 1280 ] && [ "$mtu" -le 65535 ] ||
		bad_usage "--mtu must be within 1280 and 65535, not '$mtu'"
	[ -z "$owner" ] || is_number "$owner" ||
		bad_usage "--owner: '$owner' is not a pid"
	[ "$wire" = no ] || check_wire_program
}

# Sets the globals name and state.
make_lab()
{
	[ -d "$state_root" ] || mkdir -p "$state_root"
	until
		printf -v name 'shunt-%06x' $((SRANDOM & 0xffffff))
		state=$state_root/$name
		mkdir "$state" 2>/dev/null
	do
		[ -d "$state" ] || die 1 "cannot make $state"
	done
	trap 'cmd_down "$name"' EXIT
	start_keeper "$owner"

	make_devices
	if [ "$wire" = yes ]; then
		configure_wire_ends
		start_wire
	else
		configure_server ""
		configure_router "" ""
	fi
	configure_client
	make_filters
	[ "$wire" = no ] || set_first_faults "$spec"
}

cmd_up()
{
	parse_up "$@"
	owner=${owner:-$(find_owner)}
	make_lab
	trap - EXIT
	echo "$name"
}

cmd_run()
{
	local options=() status=0 child

	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -ge 2 ] || bad_usage
	shift
	parse_up "${options[@]}"
	owner=${owner:-$$}
	make_lab

	# In the background, so that signals are heard at once; bash would
	# have such a child ignore Ctrl-C and read nothing.
	LAB=$name env --default-signal=INT,QUIT -- "$@" <&0 &
	child=$!
	note_process "$child"
	trap 'kill -TERM "$child" 2>/dev/null' TERM HUP
	trap : INT
	while wait "$child" || status=$?; is_child "$child"; do
		status=0
	done
	exit "$status"
}

# A signal ends "wait" early; then the child is still there.
is_child()
{
	local stat

	read_stat "$1" && [ "${stat[0]}" != Z ]
}

cmd_addr()
{
	[ $# = 2 ] || [ $# = 3 ] || bad_usage
	use_lab "$1"
	is_host "$2" || bad_usage "no host '$2'"
	case ${3-4} in
	4 | 6) echo "${address[$2${3-4}]}" ;;
	*) bad_usage "no family '$3'" ;;
	esac
}
