# SPDX-License-Identifier: GPL-2.0-only
# What the router drops, alters and counts, in nftables.
# shellcheck shell=bash

# Each command has a chain of its own. Counting comes last: what was dropped
# was not forwarded.
make_filters()
{
	local dir dev p counters= rules=

	for dir in to_server to_client; do
		dev=$(device_into $dir)
		for p in tcp udp udplite icmp other; do
			counters+="counter ${dir}_$p { }"$'\n'
		done
		rules+="iifname $dev counter name meta l4proto map {
				tcp : \"${dir}_tcp\",
				udp : \"${dir}_udp\",
				udplite : \"${dir}_udplite\",
				icmp : \"${dir}_icmp\",
				ipv6-icmp : \"${dir}_icmp\" } accept
			iifname $dev counter name ${dir}_other"$'\n'
	done
	inside router nft -f - <<-END
		table inet lab {
		$counters
		chain block {
			type filter hook forward priority -30
		}
		chain dropopt {
			type filter hook forward priority -20
		}
		chain strip {
			type filter hook forward priority -10
		}
		chain count {
			type filter hook forward priority 100
			$rules
		}
		}
	END
}

# The router's device by which packets of a direction come in
device_into()
{
	case $1 in
	to_server | to-server) echo rc ;;
	to_client | to-client) echo rs ;;
	esac
}

cmd_count()
{
	local act=list

	case $# in
	1) ;;
	2) [ "$2" = reset ] || bad_usage ;;
	*) bad_usage ;;
	esac
	use_lab "$1"
	[ $# = 1 ] || act=reset
	inside router nft "$act" counters table inet lab | awk '
	$1 == "counter" { dir = p = $2; sub(/_[a-z]*$/, "", dir)
		sub(/.*_/, "", p) }
	$1 == "packets" { v[dir, p] = "{\"packets\":" $2 ",\"bytes\":" $4 "}" }
	END {
		nd = split("to_server to_client", d)
		np = split("tcp udp udplite icmp other", q)
		for (i = 1; i <= nd; i++) {
			printf "%s\"%s\":{", (i > 1 ? "," : "{"), d[i]
			for (j = 1; j <= np; j++)
				printf "%s\"%s\":%s", (j > 1 ? "," : ""), q[j],
					v[d[i], q[j]]
			printf "}"
		}
		print "}"
	}'
}

cmd_block()
{
	local match=

	[ $# = 2 ] || [ $# = 3 ] || bad_usage
	use_lab "$1"
	case $2 in
	none)
		[ $# = 2 ] || bad_usage
		inside router nft flush chain inet lab block
		return
		;;
	udp | udplite | tcp) ;;
	*) bad_usage "no protocol '$2'" ;;
	esac
	case ${3-both} in
	both) ;;
	to-server | to-client) match="iifname $(device_into "$3")" ;;
	*) bad_usage "no direction '$3'" ;;
	esac
	inside router nft "add rule inet lab block $match meta l4proto $2 drop"
}

# handshake_rules CHAIN WHICH STATEMENT: replace what CHAIN does
handshake_rules()
{
	local which

	case $2 in
	both) which='syn synack' ;;
	syn | synack) which=$2 ;;
	none) which= ;;
	*) bad_usage "no kind of packet '$2'" ;;
	esac
	{
		echo "flush chain inet lab $1"
		for which in $which; do
			[ "$which" = syn ] && echo "add rule inet lab $1" \
				"tcp flags & (syn | ack) == syn $3"
			[ "$which" = synack ] && echo "add rule inet lab $1" \
				"tcp flags & (syn | ack) == syn | ack $3"
		done
		true
	} | inside router nft -f -
}

cmd_strip()
{
	[ $# = 2 ] || bad_usage
	use_lab "$1"
	handshake_rules strip "$2" "reset tcp option 254"
}

cmd_dropopt()
{
	[ $# = 2 ] || bad_usage
	use_lab "$1"
	handshake_rules dropopt "$2" "tcp option 254 exists drop"
}
