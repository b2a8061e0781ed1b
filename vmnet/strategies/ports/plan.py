"""Plan ports with a tap, whichever way the tap is connected."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import evolve

from vmnet.api import (
    BRIDGE_ADDRESS,
    FILTER,
    KEEP_PORTS,
    LOCALHOST,
    QUEUES,
    VHOST,
    BridgeError,
    CaptureError,
    Identity,
    Interface,
    Port,
    Requirements,
    Resolver,
    Saved,
    Settings,
    Tap,
    Wiring,
)
from vmnet.strategies.ports import addressing, loopback, own_address, senders
from vmnet.strategies.ports.method import Choose, Method

_log = logging.getLogger(__name__)
# The first tap's descriptor, well above the descriptors inherited from an engine or a shell.
_FIRST_FD = 100
SETTINGS = (BRIDGE_ADDRESS, FILTER, KEEP_PORTS, LOCALHOST, QUEUES, VHOST)
"""The settings that strategies with these ports carry out."""


def plan(
    settings: Settings, identity: Identity, requirements: Requirements, choose: Choose
) -> Wiring:
    """Return a port for each interface.

    :param choose: return how to connect an interface
    """
    require_privileges()
    _refuse_user_mode(identity)
    numbers = range(len(identity.interfaces))
    ports = _planned(
        settings, identity, requirements, zip(numbers, identity.interfaces, strict=True), choose
    )
    default = _default_interface(identity)
    interface = identity.interfaces[default]
    spare = own_address.spare(settings[BRIDGE_ADDRESS], interface, identity, requirements)
    if spare is not None:
        ports[default] = choose(interface).give(ports[default], default, interface, spare)
    if ranges := settings[KEEP_PORTS]:
        ports = _keep(settings, ports, identity.interfaces, identity, requirements)
        keeps = ", ".join(map(str, ranges))
        _log.info(
            "the container keeps %s: the guest can't serve these ports",
            keeps,
            extra={"event": "port.kept"},
        )
    ports[default] = loopback.with_localhost(
        settings, ports[default], interface, identity, requirements
    )
    # With only a link-local address, a forwarder reaches no nameserver outside the container.
    reaches = bool(ports[default].way_out) or _needs_no_network(identity.resolver)
    local = ports[default].local
    nameserver = local.address.ip if local and requirements.dns and reaches else None
    return Wiring(tuple(ports), contain=requirements.contain, nameserver=nameserver)


def extend(
    settings: Settings,
    identity: Identity,
    requirements: Requirements,
    wiring: Wiring,
    choose: Choose,
) -> Wiring:
    """Return the wiring with ports for the interfaces that have none.

    They get the lowest free numbers.

    :param choose: return how to connect an interface
    """
    present = {port.uplink: port for port in wiring.ports}
    new = [interface for interface in identity.interfaces if interface.name not in present]
    numbered = zip(_free_numbers(), new, strict=False)
    ports = _planned(settings, identity, requirements, numbered, choose)
    if settings[KEEP_PORTS]:
        ports = _keep(settings, ports, new, identity, requirements)
    present |= {port.uplink: port for port in ports}
    return evolve(wiring, ports=tuple(present[own.name] for own in identity.interfaces))


def require_privileges() -> None:
    """:raises PrivilegeError: the container lacks NET_ADMIN"""
    from vmnet.api import capabilities

    capabilities.require("NET_ADMIN", "the bridge")


def _refuse_user_mode(identity: Identity) -> None:
    """Refuse the tap of a rootless engine: its user-mode network serves only this machine."""
    for interface in identity.interfaces:
        if interface.kind == "tun":
            raise CaptureError(
                f"{interface.name} leads to a user-mode network (slirp4netns, pasta) of a rootless "
                "engine, which can't be bridged",
                "set VMNET_BRIDGE=passt, or use a network of its own: `podman network create "
                "NAME`, then `podman run --network NAME --cap-add NET_ADMIN,NET_RAW --device "
                "/dev/net/tun`",
            )


def _planned(
    settings: Settings,
    identity: Identity,
    requirements: Requirements,
    numbered: Iterable[tuple[int, Interface]],
    choose: Choose,
) -> list[Port]:
    """Return a port for each interface, with a link-local address and the guest's addresses."""
    from vmnet.api import rtnl, snapshot, step

    chosen = list(numbered)
    with step("read the network"), rtnl.Rtnl() as kernel:
        saved = snapshot.take(kernel, [interface.name for _, interface in chosen])
        ports = [
            _port(
                kernel,
                number,
                interface,
                identity,
                requirements,
                state,
                choose(interface),
                _fds(settings, number, interface),
            )
            for (number, interface), state in zip(chosen, saved, strict=True)
        ]
    if not settings[FILTER]:
        return ports
    return [
        evolve(port, sender=senders.sender(interface, port))
        for port, (_, interface) in zip(ports, chosen, strict=True)
    ]


def _port(
    kernel: Any,
    number: int,
    interface: Interface,
    identity: Identity,
    requirements: Requirements,
    saved: Saved,
    method: Method,
    fds: tuple[int, ...],
) -> Port:
    from vmnet.api import links

    tap = f"tap{number}"
    for name in (*(f"{prefix}{number}" for prefix in method.devices), tap):
        if links.exists(name):
            raise BridgeError(
                f"the interface {name} already exists",
                "vmnet creates it for the VM; does another VM run in this network namespace?",
            )
    link_local = addressing.link_local(interface.mac, identity)
    path, local = method.connect(kernel, number, interface, link_local)
    return Port(
        uplink=interface.name,
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=saved,
        backend=Tap(tap, fds),
        path=path,
        local=local,
        guest_addresses=tuple(own.ip for own in interface.ipv4) if requirements.dns else (),
        # On a NIC without an address, the guest may ask a DHCP server on the network.
        contain=requirements.contain and bool(interface.addresses),
        owned=senders.owned(interface, requirements),
        neighbours=interface.neighbours,
    )


def _fds(settings: Settings, number: int, interface: Interface) -> tuple[int, ...]:
    """Return the descriptors of a tap, one for each queue."""
    from vmnet.api import queues

    first = _FIRST_FD + number * queues.most(settings)
    return tuple(range(first, first + queues.count(settings, interface.name)))


def _free_numbers() -> Iterator[int]:
    """Yield the numbers of which no device exists."""
    from vmnet.api import links

    for number in itertools.count():
        if not any(links.exists(f"{prefix}{number}") for prefix in ("br", "tap", "out")):
            yield number


def _keep(
    settings: Settings,
    ports: Iterable[Port],
    interfaces: Iterable[Interface],
    identity: Identity,
    requirements: Requirements,
) -> list[Port]:
    """Return the interfaces' ports with what the container keeps, if the kernel accepts this."""
    from vmnet.api import kept_ports
    from vmnet.strategies.ports import kept

    kept.require(settings, identity, requirements)
    ranges = settings[KEEP_PORTS] or ()
    keeping = [
        kept.keeping(ranges, port, interface, identity)
        for port, interface in zip(ports, interfaces, strict=True)
    ]
    kept_ports.check(keeping)
    return keeping


def _default_interface(identity: Identity) -> int:
    """Return the position of the interface with the preferred IPv4 default route.

    Without such a route, return that of the first interface with an IPv4 address, or else 0.
    """

    def rank(position: int) -> tuple[bool, int, bool]:
        interface = identity.interfaces[position]
        route = interface.default_route(4)
        return route is None, route.metric if route else 0, not interface.ipv4

    return min(range(len(identity.interfaces)), key=rank)


def _needs_no_network(resolver: Resolver) -> bool:
    return resolver.is_local or not resolver.nameservers
