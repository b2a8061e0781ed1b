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
