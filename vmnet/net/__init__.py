"""Library for the kernel's network: rtnetlink, packet filters, ARP, neighbour discovery, DNS.

It knows nothing about strategies. All rtnetlink code of the core is here.
"""
