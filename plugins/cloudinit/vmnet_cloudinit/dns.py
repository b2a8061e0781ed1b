"""The container's resolver as netplan has it: at one interface. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from attrs import frozen

from vmnet.identity import Identity, Interface, Route
from vmnet.names import is_domain, shown
from vmnet.wiring import Port, Wiring
from vmnet_cloudinit import addresses, routes

_NO_SEARCH = "."  # an empty list of search domains, as resolv.conf(5) has it


@frozen
class Dns:
    """The guest's resolver.

    :param interface: through which it is reached
    :param config: what `nameservers` holds
    :param routes: without which it could not be reached
    """

    interface: Interface | None
    config: dict[str, list[str]]
    routes: tuple[Route, ...]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Dns:
        # cloud-init writes it once, and another one would be another instance.
        forwarder = wiring.stable_nameserver
        interface = _interface_of(wiring.nameserver, identity, wiring.ports) or _way_out(identity)
        is_far = forwarder and interface and not interface.is_neighbour(forwarder)
        lists = {
            "addresses": _nameservers(identity, forwarder),
            "search": [one for one in identity.resolver.search if is_domain(one)],
        }
        return cls(
            interface=interface,
            config={key: value for key, value in lists.items() if value},
            routes=(routes.to_host(forwarder),) if forwarder and is_far else (),
            not_carried=tuple(_not_carried(identity, forwarder, interface)),
        )


def _nameservers(identity: Identity, forwarder: IPv4Address | None) -> list[str]:
    if forwarder is not None:
        return [str(forwarder)]
    found = identity.resolver.nameservers
    return [addresses.text(one) for one in found if not one.is_loopback]


def _interface_of(
    forwarder: IPv4Address | None, identity: Identity, ports: tuple[Port, ...]
) -> Interface | None:
    """The interface whose bridge has the forwarder's address."""
    for interface, port in zip(identity.interfaces, ports, strict=False):
        if port.bridge_address.ip == forwarder:
            return interface
    return None


def _way_out(identity: Identity) -> Interface | None:
    """The interface with the best default route, else the first with an address, else the first."""

    def rank(interface: Interface) -> tuple[bool, bool, int, bool]:
        ipv4, ipv6 = (interface.default_route(version) for version in (4, 6))
        best = ipv4 or ipv6
        return best is None, ipv4 is None, best.metric if best else 0, not interface.addresses

    return min(identity.interfaces, key=rank, default=None)


def _not_carried(
    identity: Identity, forwarder: IPv4Address | None, interface: Interface | None
) -> Iterator[str]:
    resolver = identity.resolver
    for address in resolver.nameservers:
        if forwarder is None and address.is_loopback:
            own = addresses.text(address)
            yield f"nameserver {own}: the guest can't reach it, and nothing forwards"
    if forwarder is not None and interface is not None and not interface.ipv4:
        name = shown(interface.name)
        yield f"DNS: {name} has no IPv4 address from which to ask {forwarder}"
    for domain in resolver.search:
        if domain != _NO_SEARCH and not is_domain(domain):
            yield f"search domain {domain!r}, which is not a valid name"
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
