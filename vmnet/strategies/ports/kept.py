"""Plan what the container needs to serve ports of the guest's addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from attrs import evolve

from vmnet.api import (
    KEEP_PORTS,
    Bridge,
    Identity,
    Interface,
    Kept,
    Port,
    PortRange,
    Requirements,
    Route,
    Settings,
    SettingsError,
    StandIn,
)
from vmnet.strategies.ports import addressing

_OF_THE_GUEST = {53: "its DNS", 67: "its DHCP server"}
_log = logging.getLogger(__name__)


def require(settings: Settings, identity: Identity, requirements: Requirements) -> None:
    """Check that the container can keep the ports, and that the guest's addresses are known.

    :raises SettingsError: a port serves the guest, another system gives the guest its addresses, or
        it has none
    """
    given = dict(_given(settings))
    setting = ", ".join(f"{name}={text}" for name, text in given.items())
    unset = f"unset {' and '.join(given)}"
    for number, service in _OF_THE_GUEST.items():
        if any(number in each for each in settings[KEEP_PORTS] or ()):
            raise SettingsError(
                f"{setting}: the guest reaches {service} on port {number}", "choose another port"
            )
    if requirements.any_address:
        raise SettingsError(
            f"{setting}: vmnet must know the guest's addresses, which another system gives to it",
            f"use VMNET_IPAM=dnsmasq or cloudinit, or {unset}",
        )
    if not any(interface.addresses for interface in identity.interfaces):
        raise SettingsError(f"{setting}: the container has no address to keep ports of", unset)


def _given(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the variables that keep ports, with their texts."""
    if settings.is_given(KEEP_PORTS):
        yield KEEP_PORTS.name, settings.given[KEEP_PORTS.name]
    metrics = settings.rows["VMNET_METRICS"]
    if settings.is_given(metrics) and not settings[metrics].is_loopback:
        yield metrics.name, settings.given[metrics.name]


def keeping(
    ranges: tuple[PortRange, ...], port: Port, interface: Interface, identity: Identity
) -> Port:
    """Return the port with what the container keeps; unchanged without an address."""
    if not (stand_ins := (*_ipv4(port, interface, identity), *_ipv6(port, interface))):
        return port
    kept = Kept(ranges, stand_ins, tuple(_routes(interface, stand_ins)))
    if isinstance(port.path, Bridge) and port.local is not None:
        local = evolve(port.local, mac=addressing.neutral_mac(interface.mac, "bridge"))
        if any(map(_is_default, kept.routes)):
            # There from the start, and whether or not the bridge has a spare address.
            local = evolve(local, gateway=None)
        port = evolve(port, local=local)
    return evolve(port, kept=kept)


def _is_default(route: Route) -> bool:
    return route.is_default and route.destination.version == 4


def _ipv4(port: Port, interface: Interface, identity: Identity) -> Iterator[StandIn]:
    for number, address in enumerate(interface.ipv4):
        if not number and isinstance(port.path, Bridge) and port.local is not None:
            own = port.local.addresses[-1]
        else:
            own = addressing.link_local(interface.mac, identity, f"kept ports {number}")
        yield StandIn(address.ip, own.ip)


def _ipv6(port: Port, interface: Interface) -> Iterator[StandIn]:
    if not interface.ipv6 or (isinstance(port.path, Bridge) and not _has_ipv6()):
        return
    for number, address in enumerate(interface.ipv6):
        role = f"kept ports {number}"
        own = addressing.neutral_link_local(address.ip, interface.mac, role)
        yield StandIn(address.ip, own)


def _has_ipv6() -> bool:
    """Return whether a bridge can have IPv6; otherwise log a warning."""
    from vmnet.api import links

    if links.has_ipv6("default"):
        return True
    _log.warning(
        "the container serves kept ports over IPv4 only, because IPv6 is disabled on new "
        "interfaces",
        extra={
            "event": "port.ipv4_only",
            "hint": "run the container with `--sysctl net.ipv6.conf.default.disable_ipv6=0`",
        },
    )
    return False


def _routes(interface: Interface, stand_ins: Sequence[StandIn]) -> Iterator[Route]:
    """Yield the routes to the interface's subnets, then its other routes.

    The kernel accepts a gateway only after the route that leads to it. IPv4 routes with an IPv6
    gateway (RFC 8950) are left out: the container's own end may have no IPv6.
    """
    versions = {stand_in.guest.version for stand_in in stand_ins}
    on_link = (interface.on_link(own).network for own in interface.addresses)
    subnets = (Route(network) for network in on_link if network.prefixlen < network.max_prefixlen)
    others = sorted(interface.routes, key=lambda route: route.gateway is not None)
    routes = (*dict.fromkeys(subnets), *others)
    return (
        route
        for route in routes
        if route.destination.version in versions
        and (route.gateway is None or route.gateway.version == route.destination.version)
    )
