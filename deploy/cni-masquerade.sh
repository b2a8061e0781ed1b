#!/bin/sh
# Delete the masquerade rules (ipMasq) that CNI's bridge and ptp plugins left behind for VM pods.
#
#   sh cni-masquerade.sh [FOLDER]
#
# Run it as root on the node, for example daily. DEL finds a pod's rules by the addresses of the pod's
# interface, which belong to the guest by then. A rule is stale if host-local, which records the pod of
# each address in FOLDER/NETWORK (default: /var/lib/cni/networks), has no address of the rule's pod.
set -eu
folder=${1:-/var/lib/cni/networks}

for iptables in iptables ip6tables; do
    command -v "$iptables" >/dev/null || continue
    # -A POSTROUTING -s ADDRESS -m comment --comment "name: \"NETWORK\" id: \"POD\"" -j CHAIN
    "$iptables" -w -t nat -S POSTROUTING |
        sed -n 's/^-A POSTROUTING -s \([^ ]*\) .*"name: \\"\(.*\)\\" id: \\"\(.*\)\\"" -j \(CNI-[0-9a-f]*\)$/\1 \4 \2 \3/p' |
        while read -r address chain network pod; do
            test -d "$folder/$network" || continue # another IPAM plugin than host-local
            cat "$folder/$network"/* | tr -d '\r' | grep -qxF -- "$pod" && continue
            echo "$network: delete the rule of $address, which pod $pod left"
            "$iptables" -w -t nat -D POSTROUTING -s "$address" -j "$chain" \
                -m comment --comment "name: \"$network\" id: \"$pod\""
            # The rules of all addresses of a pod lead to the same chain, and -X refuses to delete it before.
            "$iptables" -w -t nat -S POSTROUTING | grep -q -- "-j $chain\$" && continue
            "$iptables" -w -t nat -F "$chain"
            "$iptables" -w -t nat -X "$chain"
        done
done
