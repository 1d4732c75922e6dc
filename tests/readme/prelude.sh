# What the scripts of runs/ share. They run as the first process of a machine of their
# own: its processes, mounts and networks end with it.
#
#   BLOCK     a file with the block of the document
#   OUT       a directory with what terminals printed
set -u
mount -t tmpfs tmpfs /run
ip link set lo up
ip route add 239.0.0.0/8 dev lo

fail() {
    echo "FAILED: $*"
    tail -n 50 "$OUT"/*
    exit 1
}

# line N: of the block.
line() { sed -n "$1p" "$BLOCK"; }

# terminal NAME COMMANDS: a terminal of its own, in which something may go on.
terminal() { bash -c "$2" >>"$OUT/$1" 2>&1 & }

# shows NAME WORDS: waits until a terminal shows them.
shows() {
    local tries=0
    until grep -qF -- "$2" "$OUT/$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || fail "terminal $1 does not show '$2'"
        sleep 0.05
    done
}

# whole: the block, as it would be pasted into a terminal.
whole() { bash "$BLOCK" >"$OUT/block" 2>&1; }

# left NUMBER: waits until so many brokers and commands are left.
left() {
    local tries=0
    until [ "$(cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^netcluster')" -eq "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || fail "not $1 processes are left: $(cat /proc/[0-9]*/comm)"
        sleep 0.05
    done
}

broker() {
    terminal serve "netcluster serve"
    shows serve "ready socket="
}

# machines NAME…: hosts 10.9.0.1 and so on, on one network.
machines() {
    local name number=0
    ip link add hub type bridge mcast_snooping 0
    ip link set hub up
    for name; do
        number=$((number + 1))
        ip netns add "$name"
        ip link add "to-$name" type veth peer name eth0 netns "$name"
        ip link set "to-$name" master hub up
        ip -n "$name" address add 10.9.0.$number/24 dev eth0
        ip -n "$name" link set eth0 up
        ip -n "$name" link set lo up
        ip -n "$name" route add default dev eth0
        mkdir -p "run-$name"
        hosts="${hosts:-127.0.0.1 localhost}
10.9.0.$number $name"
    done
    echo "$hosts" >hosts
    mount --bind hosts /etc/hosts
    mkdir -p /run/netcluster
}

# no_multicast MACHINE…: the network passes no multicast on to these hosts.
no_multicast() {
    local name
    for name; do ip link set "to-$name" type bridge_slave mcast_flood off; done
}

# behind ROUTER NAME: a host in a network of its own, whose address the router translates.
behind() {
    ip netns add "$2"
    ip link add eth1 netns "$1" type veth peer name eth0 netns "$2"
    ip -n "$1" address add 192.168.7.1/24 dev eth1
    ip -n "$2" address add 192.168.7.2/24 dev eth0
    ip -n "$1" link set eth1 up
    ip -n "$2" link set eth0 up
    ip -n "$2" link set lo up
    ip -n "$2" route add default via 192.168.7.1
    mkdir -p "run-$2"
    ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=1
    ip netns exec "$1" nft 'add table ip nat
        add chain ip nat out { type nat hook postrouting priority 100; }
        add rule ip nat out oifname "eth0" masquerade'
}

# on MACHINE NAME COMMANDS: a terminal of a machine, which has a default socket of its own.
on() {
    terminal "$2" "exec ip netns exec $1 unshare --mount bash -c 'mount --bind run-$1 /run/netcluster
        $(printf %s "$3" | sed "s/'/'\\\\''/g")'"
}

# linked MACHINE MACHINE: a broker on each, which have found each other.
linked() {
    local name
    for name; do
        on "$name" "serve-$name" "netcluster serve --link --node-name $name"
    done
    for name; do shows "serve-$name" "peer node="; done
}

# snippet NAME: a part of the test itself.
snippet() { echo "NC_README_SNIPPET=$1 '$TEST_PROGRAM' --exact snippet_process --nocapture"; }
