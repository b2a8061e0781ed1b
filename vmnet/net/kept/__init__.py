"""Keep ports of the guest's addresses for the container: nftables on the uplink."""
