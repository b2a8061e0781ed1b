"""The responder: configures the guest's IPv6, and gives up the bridge's IPv4 address on a conflict.

For IPv6 it serves router discovery (RFC 4861) and DHCPv6 (RFC 8415) to the guest behind a tap. It
reads and writes frames, because dnsmasq serves neither protocol on a bridge without IPv6, and a
bridge in a Docker container has none. A router advertisement from the bridge's own address would
also make the bridge the guest's router.

The responder runs as long as the VM. It is a separate program that imports only small modules of
:mod:`vmnet.net`, and little of the standard library: see bench/memory.
:mod:`vmnet_dnsmasq.responder_delivery` writes its configuration.
"""
