"""Turn the container's resolver into netplan's, which belongs to an interface. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from attrs import frozen

from vmnet.api import Identity, Interface, Route, Wiring, is_domain, shown
from vmnet_cloudinit import addresses, routes

_NO_SEARCH = "."  # the empty list of search domains in resolv.conf(5)


@frozen
class Dns:
    """The guest's resolver.

    :param interface: the interface through which the guest reaches it
    :param config: the content of netplan's `nameservers`
    :param routes: routes that the guest needs to reach it
    """

    interface: Interface | None
    config: dict[str, list[str]]
    routes: tuple[Route, ...]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Dns:
        # cloud-init writes the address once: another address would be another instance.
        forwarder = wiring.stable_nameserver
        interface = _forwarding_interface(identity, wiring) or _outermost(identity)
        is_far = forwarder and interface and not interface.is_neighbour(forwarder)
        lists = {
            "addresses": _nameservers(identity, forwarder),
            "search": [domain for domain in identity.resolver.search if is_domain(domain)],
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
    return [addresses.text(address) for address in found if not address.is_loopback]


def _forwarding_interface(identity: Identity, wiring: Wiring) -> Interface | None:
    """Return the interface whose own end in the container has the forwarder's address."""
    for interface, port in wiring.pairs(identity):
        if wiring.forwards(port):
            return interface
    return None


def _outermost(identity: Identity) -> Interface | None:
    """Return the interface with the best default route.

    Without a default route, return the first interface with an address, or else the first.
    """

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
            yield f"nameserver {own}: the guest cannot reach it, and there is no forwarder"
    if forwarder is not None and interface is not None and not interface.ipv4:
        name = shown(interface.name)
        yield f"DNS: {name} has no IPv4 address to ask {forwarder} from"
    for domain in resolver.search:
        if domain != _NO_SEARCH and not is_domain(domain):
            yield f"search domain {domain!r}: not a valid name"
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
