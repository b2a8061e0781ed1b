"""Plan what the container needs to serve ports of the guest's addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface

from attrs import evolve

from vmnet.api import (
    KEEP_PORTS,
    Identity,
    Interface,
    Kept,
    Port,
    PortRange,
    Requirements,
    Route,
    SettingsError,
    StandIn,
)
from vmnet.strategies.ports import addressing

_OF_THE_GUEST = {53: "its DNS", 67: "its DHCP server"}
_log = logging.getLogger(__name__)


def require(ports: tuple[PortRange, ...], identity: Identity, requirements: Requirements) -> None:
    """Check that the container can keep the ports, and that the guest's addresses are known.

    :raises SettingsError: a port serves the guest, another system gives the guest its addresses, or
        it has none
    """
    setting = f"{KEEP_PORTS.name}={','.join(map(str, ports))}"
    for number, service in _OF_THE_GUEST.items():
        if any(number in each for each in ports):
            raise SettingsError(
                f"{setting} contains port {number}, on which the guest reaches {service}",
                "choose another port",
            )
    if requirements.any_address:
        raise SettingsError(
            f"{setting} needs the guest's addresses, which another system gives to it",
            "use VMNET_IPAM=dnsmasq or cloudinit, or unset VMNET_KEEP_PORTS",
        )
    if not any(interface.addresses for interface in identity.interfaces):
        raise SettingsError(
            f"{setting} has no effect, because the container has no address",
            "unset VMNET_KEEP_PORTS",
        )


def kept(
    ports: tuple[PortRange, ...], interface: Interface, own: IPv4Interface, identity: Identity
) -> Kept | None:
    """Return what the container keeps on an interface; None without an address.

    :param own: the bridge's link-local address
    """
    stand_ins = (*_ipv4(interface, own, identity), *_ipv6(interface))
    return Kept(ports, stand_ins, tuple(_routes(interface, stand_ins))) if stand_ins else None


def keeping(port: Port, kept: Kept | None) -> Port:
    """Return the port with what the container keeps.

    Kept ports have the interface's default route from the start, and whether or not the own end has
    a spare address.
    """
    local = port.local
    if kept is not None and local is not None and any(map(_is_default, kept.routes)):
        local = evolve(local, gateway=None)
    return evolve(port, kept=kept, local=local)


def _is_default(route: Route) -> bool:
    return route.is_default and route.destination.version == 4


def _ipv4(interface: Interface, own: IPv4Interface, identity: Identity) -> Iterator[StandIn]:
    for number, address in enumerate(interface.ipv4):
        role = f"kept ports {number}"
        link_local = addressing.link_local(interface.mac, identity, role) if number else own
        yield StandIn(address.ip, link_local.ip)


def _ipv6(interface: Interface) -> Iterator[StandIn]:
    if not interface.ipv6:
        return
    from vmnet.api import links

    if not links.has_ipv6("default"):
        _log.warning(
            "the container serves kept ports over IPv4 only, because IPv6 is disabled on new "
            "interfaces",
            extra={
                "hint": "run the container with `--sysctl net.ipv6.conf.default.disable_ipv6=0`"
            },
        )
        return
    for number, address in enumerate(interface.ipv6):
        mac = addressing.new_mac(interface.mac, f"kept ports {number}")
        yield StandIn(address.ip, addressing.ipv6_link_local(mac))


def _routes(interface: Interface, stand_ins: Sequence[StandIn]) -> Iterator[Route]:
    """Yield the routes to the interface's subnets, then its other routes."""
    versions = {stand_in.guest.version for stand_in in stand_ins}
    on_link = (interface.on_link(own).network for own in interface.addresses)
    subnets = (Route(network) for network in on_link if network.prefixlen < network.max_prefixlen)
    routes = (*dict.fromkeys(subnets), *interface.routes)
    return (route for route in routes if route.destination.version in versions)
