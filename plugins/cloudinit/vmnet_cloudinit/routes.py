"""Routes in netplan's format, in a form that every renderer accepts. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from attrs import frozen

from vmnet.api import Identity, Interface, Route, shown
from vmnet_cloudinit import addresses
from vmnet_cloudinit.addresses import Address

# To every renderer, the unspecified address as gateway means "on the link", as in DHCP option 121.
# cloud-init's ifupdown renderer fails on a route without `via`, and netplan's NetworkManager
# renderer on `scope: link`.
_ON_LINK: dict[int, Address] = {4: IPv4Address(0), 6: IPv6Address(0)}


@frozen
class Judged:
    """A route of an interface, and why the guest cannot get it; empty if it can."""

    interface: Interface
    route: Route
    obstacle: str

    @property
    def line(self) -> str:
        """The message that the route is not carried, and why."""
        via = f" via {addresses.text(self.route.gateway)}" if self.route.gateway else ""
        name = shown(self.interface.name)
        return f"route to {_destination(self.route)}{via} of {name}: {self.obstacle}"


def judge(identity: Identity) -> Iterator[Judged]:
    """Yield every route of every interface, in order."""
    seen: set[tuple[IPv4Network | IPv6Network, int]] = set()
    for interface in identity.interfaces:
        for route in interface.routes:
            key = route.destination, route.metric
            obstacle = ""
            if route.gateway and route.gateway.version != route.destination.version:
                obstacle = "its gateway is of the other IP version"
            elif key in seen:
                obstacle = "one of several next hops; the guest gets only the first"
            else:
                seen.add(key)
            yield Judged(interface, route, obstacle)


def in_order(routes: list[Route], interface: Interface) -> list[Route]:
    """Return on-link routes first, and add one to each far gateway that has none.

    The flag `on-link` would do instead, but only for netplan.
    """
    direct = [route for route in routes if route.gateway is None]
    through = [route for route in routes if route.gateway is not None]
    for route in through:
        gateway = route.gateway
        if gateway and not interface.is_neighbour(gateway) and not _is_covered(gateway, direct):
            direct.append(to_host(gateway))
    return [*direct, *through]


def render(route: Route, interface: Interface) -> dict[str, Any]:
    """Return an entry of netplan's `routes`."""
    gateway = route.gateway
    rendered: dict[str, Any] = {
        "to": _destination(route),
        "via": addresses.text(gateway or _ON_LINK[route.destination.version]),
    }
    if gateway and (route.onlink or not interface.is_neighbour(gateway)):
        rendered["on-link"] = True
    if route.metric:
        rendered["metric"] = route.metric
    if route.mtu:
        rendered["mtu"] = route.mtu
    if route.source:
        rendered["from"] = addresses.text(route.source)
    return rendered


def to_host(address: Address) -> Route:
    """Return the on-link route to an address."""
    prefix = f"{addresses.text(address)}/{address.max_prefixlen}"
    is_ipv4 = isinstance(address, IPv4Address)
    return Route(IPv4Network(prefix) if is_ipv4 else IPv6Network(prefix))


def _destination(route: Route) -> str:
    """Return the prefix, never ``default``, which cloud-init's renderers take for a bad address."""
    return f"{addresses.text(route.destination.network_address)}/{route.destination.prefixlen}"


def _is_covered(gateway: Address, direct: list[Route]) -> bool:
    return any(gateway in route.destination for route in direct if not route.is_default)
