"""The bridge strategy ``passt``: connect the guest without changing the container's network.

passt(1) is a process of the container. It turns the guest's connections into sockets, answers its
DHCP, and gives it the container's addresses. So it needs no privilege, and the network can be of
any kind. The network itself stays as it is: there is nothing to build or to restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from vmnet.api import (
    KEEP_PORTS,
    LOCALHOST,
    RUN_DIR,
    BridgeError,
    Delivery,
    Identity,
    Interface,
    Port,
    Requirements,
    Saved,
    Setting,
    Settings,
    Stream,
    UserMode,
    Wiring,
    hookimpl,
    setting,
)
from vmnet.strategies.passt import ports

NAME = "passt"
STATIC = "static"
"""The strategy data of a port whose guest gets its addresses from another system."""
PORTS = setting(
    "VMNET_PASST_PORTS",
    ports.parse,
    "auto",
    "ports at which the guest can be reached: auto (1 to 10000), all, none, or a list such as "
    "22,53/udp,5000-6000",
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return PORTS, KEEP_PORTS, LOCALHOST


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    from vmnet.strategies.passt import service
    from vmnet.strategies.passt.arguments import Paths

    interface = _only(identity)
    passt = service.find()
    port = Port(
        uplink=interface.name,
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=Saved(up=True, queue_length=0, addr_gen_mode=None, messages=()),
        backend=Stream(Paths.below(settings[RUN_DIR]).socket),
        path=UserMode(NAME),
        strategy_data=STATIC if requirements.any_address else "",
    )
    return Wiring((port,), nameserver=_nameserver(identity, interface, passt.forwards))


@hookimpl
def vmnet_bridge_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    from vmnet.strategies.passt import service

    return service.deliver(settings, identity, wiring, settings[PORTS])


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    return True


def _only(identity: Identity) -> Interface:
    """Return the only interface.

    :raises BridgeError: there are several, or it has no address
    """
    first, *others = identity.interfaces
    if others:
        names = ", ".join(interface.name for interface in identity.interfaces)
        raise BridgeError(
            f"VMNET_BRIDGE=passt hands over a single interface, and the container has {names}",
            f"set VMNET_INTERFACES={first.name}; through it, the guest reaches all networks that "
            "the container reaches",
        )
    if not first.addresses:
        raise BridgeError(
            f"{first.name} has no address, which VMNET_BRIDGE=passt requires",
            "connect the container to a network that assigns addresses",
        )
    return first


def _nameserver(identity: Identity, interface: Interface, forwards: bool) -> IPv4Address | None:
    """Return the address at which passt forwards to the container's own resolver, if needed."""
    from vmnet.strategies.ports import addressing

    loopback = [server for server in identity.resolver.nameservers if server.is_loopback]
    if forwards and interface.ipv4 and any(server.version == 4 for server in loopback):
        return addressing.link_local(interface.mac, identity).ip
    return None
