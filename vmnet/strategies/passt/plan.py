"""The bridge strategy ``passt``: connect the guest without changing the container's network.

passt(1) is a process of the container. It turns the guest's connections into sockets, answers its
DHCP, and gives it the container's addresses. So it needs no privilege, and the network can be of
any kind. The network itself stays as it is: there is nothing to build or to restore.
"""

from __future__ import annotations

import logging
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
    Kept,
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
from vmnet.strategies.passt.ports import parse

_log = logging.getLogger(__name__)
NAME = "passt"
STATIC = "static"
"""The strategy data of a port whose guest gets its addresses from another system."""
PORTS = setting(
    "VMNET_PASST_PORTS",
    parse,
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

    _require_addresses(identity)
    passt = service.find()
    _refuse_localhost(settings, identity)
    kept = settings[KEEP_PORTS]
    if kept:
        listed = ", ".join(map(str, kept))
        _log.info(
            "the container keeps %s: the guest can't serve these ports",
            listed,
            extra={"event": "port.kept"},
        )
    ports = tuple(
        Port(
            uplink=interface.name,
            guest_mac=interface.mac,
            mtu=interface.mtu,
            saved=Saved(up=True, queue_length=0, addr_gen_mode=None, messages=()),
            backend=Stream(Paths.below(settings[RUN_DIR], number).socket),
            path=UserMode(NAME),
            kept=Kept(kept) if kept else None,
            strategy_data=STATIC if requirements.any_address else "",
        )
        for number, interface in enumerate(identity.interfaces)
    )
    return Wiring(ports, nameserver=_nameserver(identity, passt.forwards))


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


def _require_addresses(identity: Identity) -> None:
    """:raises BridgeError: an interface has no address"""
    for interface in identity.interfaces:
        if not interface.addresses:
            raise BridgeError(
                f"{interface.name} has no address, which VMNET_BRIDGE=passt requires",
                "connect the container to a network that assigns addresses, or leave the "
                "interface out of VMNET_INTERFACES",
            )


def _refuse_localhost(settings: Settings, identity: Identity) -> None:
    """:raises BridgeError: 127.0.0.1 would have to lead to several NICs of the guest"""
    if settings[LOCALHOST] == "on" and len(identity.interfaces) > 1:
        raise BridgeError(
            "with VMNET_BRIDGE=passt, VMNET_LOCALHOST=on needs a single interface, and the "
            f"container has {', '.join(interface.name for interface in identity.interfaces)}",
            f"set VMNET_INTERFACES={identity.interfaces[0].name}, or unset VMNET_LOCALHOST",
        )


def _nameserver(identity: Identity, forwards: bool) -> IPv4Address | None:
    """Return the address at which passt forwards to the container's own resolver, if needed."""
    from vmnet.strategies.ports import addressing

    loopback = [server for server in identity.resolver.nameservers if server.is_loopback]
    if not forwards or not any(server.version == 4 for server in loopback):
        return None
    macs = (interface.mac for interface in identity.interfaces if interface.ipv4)
    return next((addressing.link_local(mac, identity).ip for mac in macs), None)
