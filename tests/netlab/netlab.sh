#!/usr/bin/env bash
# Network namespaces for tests with real browsers: the server, three seats, and a link that can be impaired.
#
#   netlab.sh up PREFIX      netlab.sh down PREFIX
#
#   PREFIX-a 10.99.1.2 ---------------------------------- 10.99.1.1 \
#   PREFIX-b 10.99.2.2 --- PREFIX-link (impair.py) ------ 10.99.2.1  > PREFIX-sfu, 10.99.0.1 on lo
#   PREFIX-c 10.99.3.2 ---------------------------------- 10.99.3.1 /
#
# Nothing leaves these namespaces, and nothing is forwarded between seats: media that arrives went through the server.
# Every link is made inside the namespaces, so that runs with different prefixes do not meet.
set -euo pipefail
action=${1:?up or down}
prefix=${2:?a prefix for the namespaces}
names=(sfu a b c link)

down() {
  for name in "${names[@]}"; do
    [ -e "/run/netns/$prefix-$name" ] || continue
    # Whatever still runs in there was started for this laboratory alone.
    for pid in $(ip netns pids "$prefix-$name"); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns del "$prefix-$name" || true
  done
}

# namespace, interface, then the far end's namespace and interface
pair() {
  ip link add "$2" netns "$prefix-$1" type veth peer name "$4" netns "$prefix-$3"
  for end in "$1 $2" "$3 $4"; do
    read -r namespace interface <<<"$end"
    ip netns exec "$prefix-$namespace" sysctl -qw "net.ipv6.conf.$interface.disable_ipv6=1" 2>/dev/null || true
    # One packet on the wire is one datagram: loss must not hit a whole segmented train.
    ip -n "$prefix-$namespace" link set "$interface" gso_max_segs 1 up
  done
}

mac() { ip netns exec "$prefix-$1" cat "/sys/class/net/$2/address"; }

up() {
  for name in "${names[@]}"; do
    ip netns add "$prefix-$name"
    ip -n "$prefix-$name" link set lo up
  done
  ip netns exec "$prefix-sfu" sysctl -qw net.ipv4.ip_forward=0
  ip -n "$prefix-sfu" addr add 10.99.0.1/32 dev lo
  pair a eth0 sfu seat-a
  pair b eth0 link seat
  pair link server sfu seat-b
  pair c eth0 sfu seat-c
  local number=0
  for seat in a b c; do
    number=$((number + 1))
    ip -n "$prefix-sfu" addr add "10.99.$number.1/24" dev "seat-$seat"
    ip -n "$prefix-$seat" addr add "10.99.$number.2/24" dev eth0
    ip -n "$prefix-$seat" route add default via "10.99.$number.1"
    # A lost ARP request would cost a second that no call in the world has to wait for.
    ip -n "$prefix-$seat" neigh replace "10.99.$number.1" lladdr "$(mac sfu "seat-$seat")" dev eth0 nud permanent
    ip -n "$prefix-sfu" neigh replace "10.99.$number.2" lladdr "$(mac "$seat" eth0)" dev "seat-$seat" nud permanent
  done
}

case "$action" in
  up) up ;;
  down) down ;;
  *) echo "unknown action $action" >&2; exit 2 ;;
esac
