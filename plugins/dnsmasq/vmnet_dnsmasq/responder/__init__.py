"""The IPv6 responder: tells the guest behind a tap its address, its router and its DNS servers.

It is router discovery (RFC 4861) and a DHCPv6 server (RFC 8415) for one machine, in frames rather
than sockets: dnsmasq could serve neither on a bridge that has no IPv6 of its own, which it has not
in a container of Docker's, and a router advertisement from the bridge would make the bridge the
guest's router.

It runs for as long as the VM, as a program of its own that imports nothing of vmnet and little of
the standard library: see bench/memory. :mod:`vmnet_dnsmasq.ipv6` writes its configuration.
"""
