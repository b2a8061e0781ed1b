# Functions for the guest's scripts: read the network identity, and print and format it.

# Print a line on the console, not after the shell's prompt.
say() {
    {
        [ ! -e /run/prompt ] || echo
        echo "vmnet-guest: $*"
    } >/dev/console
}

# The names of the Ethernet NICs, one per line.
nics() {
    for path in /sys/class/net/eth*; do
        [ ! -e "$path" ] || echo "${path##*/}"
    done
}

# The addresses of NIC $1 with prefix lengths, one per line, without link-local addresses.
addresses4() { ip -o -4 addr show dev "$1" scope global | awk '{ print $4 }'; }
addresses6() { ip -o -6 addr show dev "$1" scope global | awk '{ print $4 }'; }

# The main routing table, one route per line, without expiry times and without the
# multicast, link-local and loopback entries.
routes4() { ip -4 route | sed 's/ *$//; s/  */ /g'; }
routes6() { ip -6 route | sed 's/ *$//; s/ *expires [^ ]*//; s/  */ /g; /^multicast/d; /^fe80::\/64/d; /dev lo/d'; }

nameservers() { awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf; }
search_domains() { awk '$1 == "search" { for (i = 2; i <= NF; i++) print $i }' /etc/resolv.conf; }
ntp_servers() { cat /run/ntp.* 2>/dev/null; }

# Succeed if $1 can be a host or domain name, which goes into files, pages and commands.
is_name() {
    [ "${#1}" -le 253 ] || return
    case $1 in
    '' | -* | .* | *[!A-Za-z0-9._-]*) return 1 ;;
    esac
}

# Write resolv.conf from the shares of all DHCP clients. $1: the client (eth0.4,
# eth0.6), $2: its DNS servers, $3: its search domains. Clients run this at the same
# time, so each repeats it until no share has changed.
set_resolver() {
    {
        for server in $2; do echo "nameserver $server"; done
        for domain in $3; do ! is_name "$domain" || echo "search $domain"; done
    } >"/run/resolver.$1"
    shares=
    until [ "$shares" = "$(cat /run/resolver.*)" ]; do
        shares=$(cat /run/resolver.*)
        echo "$shares" | awk '
            seen[$0]++ { next }
            $1 == "nameserver" { servers = servers $0 "\n" }
            $1 == "search" { domains = domains " " $2 }
            END { printf "%s%s", (domains ? "search" domains "\n" : ""), servers }
        ' >"/run/resolv.conf.$1"
        mv "/run/resolv.conf.$1" /etc/resolv.conf
    done
}

# Set the host name to $1 if it is valid.
set_hostname() {
    is_name "$1" || return
    hostname "$1"
    printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$1" >/etc/hosts
}

# Print the lines of stdin as comma-separated JSON strings, or as a JSON list.
json_strings() {
    sed 's/[[:cntrl:]]//g; s/[\\"]/\\&/g' | awk '{ printf "%s\"%s\"", comma, $0; comma = ", " }'
}
json_list() { printf '[%s]' "$(json_strings)"; }

# Request an IPv6 address on NIC $1, with the client that the build found.
dhcp6() {
    if command -v udhcpc6 >/dev/null; then
        # Without a link-local address the client fails. The kernel sets the address
        # shortly after the link is up, without an event for scripts.
        until ip -6 addr show dev "$1" scope link | grep -q fe80; do
            [ -e "/sys/class/net/$1" ] || return
            usleep 100000
        done
        udhcpc6 -b -t 1 -T 1 -A 5 -i "$1" -s /lib/dhcp/v6 -p "/run/$1.dhcp6.pid" -O search
    elif command -v dhcpcd >/dev/null; then
        dhcpcd -b "$1"
    fi
}

# Bring up NIC $1 and request its addresses, unless that has been done already. Return
# when it has a lease, or after ten seconds without an answer.
start_nic() {
    mkdir "/run/$1.started" 2>/dev/null || return 0
    # The address was the container's, so there is no duplicate to detect.
    echo 0 >"/proc/sys/net/ipv6/conf/$1/accept_dad"
    ip link set "$1" up
    # From here on, /lib/carrier compares: it may look for the first time when a carrier has been away.
    cat "/sys/class/net/$1/carrier_down_count" >"/run/$1.downs"
    case " $(cat /proc/cmdline) " in
    *" vmnet.dhcp=off "*) return ;;
    esac
    # In a subshell, so that the shell on the console does not wait for it.
    (dhcp6 "$1" >"/run/$1.dhcp6.log" 2>&1 &)
    udhcpc -b -t 10 -T 1 -A 5 -i "$1" -s /lib/dhcp/v4 -p "/run/$1.dhcp4.pid" \
        -O search -O staticroutes -O mtu -O ntpsrv >"/run/$1.dhcp4.log" 2>&1
}

# Stop the clients of NIC $1, and forget what they have learned.
stop_clients() {
    for client in dhcp4 dhcp6; do
        [ ! -e "/run/$1.$client.pid" ] || kill "$(cat "/run/$1.$client.pid")"
    done
    rm -rf "/run/$1".* "/run/ntp.$1" "/run/resolver.$1".*
}

# Forget NIC $1, which is gone.
stop_nic() {
    stop_clients "$1"
    say "$1 is gone"
}

# Request the addresses of NIC $1 again.
restart_nic() {
    stop_clients "$1"
    ip addr flush dev "$1" scope global
    start_nic "$1"
}
