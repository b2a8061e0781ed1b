"""The parts of an identity's IPv6 that do not reach the guest, a line each. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Identity, Interface, Route
from vmnet_dnsmasq.gaps import REMEDY
from vmnet_dnsmasq.ipv6 import MOST_ADDRESSES, dns_and_time, fitting, known_router

_LISTS = ("IPv6 nameservers", "search domains", "IPv6 time servers")


def gaps(
    identity: Identity, asks_directly: bool = True, can_ask_routers: bool = True
) -> Iterator[str]:
    """Yield a line for each part of the IPv6 configuration that does not reach the guest.

    :param asks_directly: whether the guest asks the container's nameservers, not a forwarder
    :param can_ask_routers: whether the container may send neighbour discovery to a gateway
    """
    for interface in identity.interfaces:
        if not interface.ipv6:
            continue
        if more := interface.ipv6[MOST_ADDRESSES:]:
            yield f"further addresses of {interface.name}: {', '.join(map(str, more))} ({REMEDY})"
        for route in interface.routes_of(6):
            if reason := _obstacle(route, interface, can_ask_routers):
                via = f" via {route.gateway}" if route.gateway else ""
                yield f"route to {route.destination}{via} of {interface.name}: {reason} ({REMEDY})"
        if any(route.mtu not in (None, interface.guest_mtu) for route in interface.routes_of(6)):
            yield f"IPv6 route MTUs of {interface.name} ({REMEDY})"
        lists = dns_and_time(identity, asks_directly)
        carried = fitting(interface, identity, lists)
        for label, items, kept in zip(_LISTS, lists, carried, strict=True):
            if rest := items[len(kept) :]:
                yield (
                    f"{len(rest)} of {len(items)} {label}, from {rest[0]} on, of {interface.name}: "
                    f"a DHCPv6 message holds 1280 bytes ({REMEDY})"
                )


def _obstacle(route: Route, interface: Interface, can_ask: bool) -> str:
    """Return why the guest cannot get a route; empty if it can."""
    if route.gateway is None:
        return "a default route needs a gateway" if route.is_default else ""
    if interface.router is None or route.gateway != interface.router.gateway:
        return "router advertisements announce only one gateway"
    if known_router(interface):
        return ""
    silent = "its gateway does not answer at present"
    return silent if can_ask else "vmnet cannot ask its gateway without the capability NET_RAW"
