"""Let programs of the container reach the guest at 127.0.0.1 and ::1, by nftables rules."""
