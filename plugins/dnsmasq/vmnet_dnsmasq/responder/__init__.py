"""The responder: tells the guest behind a tap its IPv6 address, router and DNS servers, and gives
the bridge's own IPv4 address up where somebody else claims it.

For IPv6 it is router discovery (RFC 4861) and a DHCPv6 server (RFC 8415) for one machine, in frames
rather than sockets: dnsmasq could serve neither on a bridge that has no IPv6 of its own, which it
has not in a container of Docker's, and a router advertisement from the bridge would make the bridge
the guest's router.

It runs for as long as the VM, as a program of its own that imports nothing of vmnet and little of
the standard library: see bench/memory. :mod:`vmnet_dnsmasq.helper` writes its configuration.
"""
