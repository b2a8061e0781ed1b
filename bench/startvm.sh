#!/bin/sh
# startvm.sh [QEMU ARGUMENT ...]: the work of `vmnet run` with its default strategies, by hand.
# bench/start.py compares vmnet with it. The script is for a container with a single IPv4 interface,
# eth0. It performs every step, but checks nothing beforehand and undoes nothing after a failure.
set -eu

run=${VMNET_RUN_DIR:-/run/vmnet}
demo=${VMNET_DEMO:-/usr/share/vmnet/demo}
memory=${VMNET_MEMORY:-512}
qemu=${VMNET_QEMU:-$(command -v qemu-system-x86_64)}

# Print the netmask of prefix length $1.
netmask() {
    bits=$((0xffffffff << (32 - $1)))
    echo "$((bits >> 24 & 255)).$((bits >> 16 & 255)).$((bits >> 8 & 255)).$((bits & 255))"
}

# 1. Record the container's network identity.
record() {
    read -r mac </sys/class/net/eth0/address
    read -r mtu </sys/class/net/eth0/mtu
    read -r hostname </proc/sys/kernel/hostname
    # shellcheck disable=SC2046  # a list of words: index, name, inet, ADDRESS/PREFIX
    set -- $(ip -4 -o address show dev eth0 scope global)
    address=${4%/*} prefix=${4#*/}
    # shellcheck disable=SC2046  # default, via, GATEWAY
    set -- $(ip -4 route show default dev eth0)
    gateway=${3-}
    routes=$(ip -4 route show dev eth0)
    nameservers='' search=''
    while read -r keyword words; do
        case $keyword in
        nameserver) nameservers=$nameservers${nameservers:+,}$words ;;
        search | domain) search=$words ;;
        esac
    done </etc/resolv.conf
}

# Write the record to the disk atomically.
save() {
    cat >"$run/.state.new" <<EOF
hostname=$hostname
mac=$mac
mtu=$mtu
address=$address/$prefix
gateway=$gateway
nameservers=$nameservers
search=$search
routes:
$routes
EOF
    sync "$run/.state.new"
    mv "$run/.state.new" "$run/state"
}

# 2. and 3. Create the bridge, its own addresses, and the tap; remove the uplink's address and MAC.
# New MACs are the container's MAC with another, locally administered prefix.
wire() {
    tail=${mac#*:*:}
    ip link add br0 address "06:b0:$tail" mtu "$mtu" type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    ip link set br0 addrgenmode none
    echo 1 >/proc/sys/net/ipv4/conf/br0/arp_ignore
    # Some DHCP clients drop replies whose checksum was left to a NIC.
    ethtool -K br0 tx off >/dev/null
    ip link set eth0 down
    ip address flush dev eth0
    ip link set eth0 addrgenmode none address "06:e0:$tail" master br0 up
    ip tuntap add tap0 mode tap vnet_hdr
    contain
    ip link set tap0 addrgenmode none mtu "$mtu" master br0 up
    # The guest's MAC and address are static entries, which no received frame changes.
    # Reserved multicast passes, except pause frames.
    ip link set eth0 type bridge_slave learning off group_fwd_mask 0xfffd
    ip link set tap0 type bridge_slave learning off flood off group_fwd_mask 0xfffd
    bridge fdb replace "$mac" dev tap0 master static
    echo 0 >/proc/sys/net/ipv4/conf/br0/forwarding
    echo 0 >/proc/sys/net/ipv4/conf/tap0/forwarding
    ip link set br0 up
    ip address add "169.254.100.$((0x${mac##*:}))/32" dev br0
    ip neighbour replace "$address" lladdr "$mac" nud permanent dev br0
}

# Block DHCP and router messages in both directions on the uplink. The program is the output of
# `tcpdump -ddd` for: udp dst port 67, 68, 546 or 547, ICMPv6 types 133 and 134.
contain() {
    program='22,40 0 0 12,21 1 0 2048,21 8 17 34525,48 0 0 23,21 0 15 17,40 0 0 20,69 13 0 8191,177 0 0 14,72 0 0 16,21 11 0 67,21 10 9 68,48 0 0 20,21 4 0 58,21 0 6 17,40 0 0 56,21 5 0 546,21 4 3 547,48 0 0 54,21 2 0 133,21 1 0 134,6 0 0 4294967295,6 0 0 2'
    tc qdisc add dev eth0 clsact
    tc filter add dev eth0 ingress prio 1 bpf direct-action bytecode "$program"
    tc filter add dev eth0 egress prio 1 bpf direct-action bytecode "$program"
    # The bridge accepts only ARP and IPv4.
    served='5,40 0 0 12,21 1 0 2048,21 0 1 2054,6 0 0 4294967295,6 0 0 2'
    tc qdisc add dev br0 clsact
    tc filter add dev br0 ingress prio 1 bpf direct-action bytecode "$served"
}

# 4. Start the DHCP server for this guest.
serve() {
    cat >"$run/dnsmasq.conf" <<EOF
no-resolv
no-hosts
bind-interfaces
except-interface=lo
interface=br0
pid-file="$run/dnsmasq.pid"
log-facility="$run/dnsmasq.log"
dhcp-leasefile="$run/dnsmasq.leases"
dhcp-authoritative
dhcp-broadcast
dhcp-ignore=tag:!known
no-ping
dhcp-match=set:decline,53,4b
shared-network=br0,$address
dhcp-range=$address,static,$(netmask "$prefix"),infinite
dhcp-host=$mac,tag:!decline,set:tap0,$address,$hostname.,infinite
dhcp-option=tag:tap0,option:router${gateway:+,$gateway}
dhcp-option=tag:tap0,option:mtu,$mtu
dhcp-option=tag:tap0,12,"$hostname"
dhcp-option=tag:tap0,option:dns-server${nameservers:+,$nameservers}
dhcp-option=tag:tap0,option:domain-name,"${search%% *}"
dhcp-option=tag:tap0,option:domain-search,$(echo "$search" | sed 's/ /.,/g;s/$/./')
port=0
EOF
    prlimit --fsize=1048576 dnsmasq --conf-file="$run/dnsmasq.conf"
}

# 5. Become QEMU, without capabilities and unable to gain them.
accelerator() {
    if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
        echo "kvm -cpu host"
    else
        echo "startvm: no KVM: the guest runs in slow software emulation" >&2
        echo "tcg -cpu max"
    fi
}

mkdir -p "$run"
record
save
wire
serve
# shellcheck disable=SC2046  # a list of words
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all "$qemu" \
    -name "guest=$hostname" \
    -nodefaults -no-user-config \
    -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
    -machine q35 -accel $(accelerator) \
    -smp 1 -m "$memory" \
    -device virtio-rng-pci \
    -display none \
    -chardev stdio,id=console,signal=off -serial chardev:console \
    -qmp "unix:$run/qmp.sock,server=on,wait=off" \
    -netdev tap,id=net0,ifname=tap0,script=no,downscript=no \
    -device "virtio-net-pci,netdev=net0,mac=$mac,host_mtu=$mtu,romfile=" \
    -kernel "$demo/vmlinuz" -initrd "$demo/initrd" -append "console=ttyS0 quiet panic=-1" \
    "$@"
