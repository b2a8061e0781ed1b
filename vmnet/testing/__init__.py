"""A kit for the tests of plugins: identities like those of containers, wirings, settings.

Everything has a default, so a test states only what it is about:

>>> from vmnet import testing
>>> nic = testing.interface("10.1.0.9/32", gateway="169.254.1.1")
>>> identity = testing.identity(nic, hostname="db")
>>> testing.wiring(identity).ports[0].guest_mac
'02:42:0a:01:00:09'
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Interface, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from attrs import evolve

from vmnet.model.identity import Identity, Interface, Resolver, Route
from vmnet.model.machine import Machine, Nic
from vmnet.model.wiring import Bridge, Local, Port, Saved, Tap, Wiring
from vmnet.settings import core, table
from vmnet.settings.table import Setting, Settings
from vmnet.strategies.ports import addressing

RUN_DIR = Path("/run/vmnet")


def route(destination: str, gateway: str = "", **changes: Any) -> Route:
    """Return a route through a gateway, or an on-link route without a gateway.

    :param changes: fields of :class:`~vmnet.model.identity.Route`
    """
    default = Route(ip_network(destination), ip_address(gateway) if gateway else None)
    return evolve(default, **changes)


def interface(*addresses: str, name: str = "eth0", gateway: str = "", **changes: Any) -> Interface:
    """Return a veth with the MAC that Docker derives from the first address.

    :param gateway: gateway of its default route; empty for no route
    :param changes: fields of :class:`~vmnet.model.identity.Interface`
    """
    parsed = tuple(map(ip_interface, addresses))
    unrouted = Interface(name, _mac(parsed), kind="veth", addresses=parsed)
    routes = (_default_route(gateway, unrouted),) if gateway else ()
    return evolve(unrouted, **{"routes": routes, **changes})


def identity(*interfaces: Interface, **changes: Any) -> Identity:
    """Return the identity of a container named ``web``, by default on Docker's default bridge.

    :param changes: fields of :class:`~vmnet.model.identity.Identity`
    """
    default = Identity(
        hostname="web",
        interfaces=interfaces or (interface("172.17.0.2/16", gateway="172.17.0.1"),),
        resolver=resolver("192.0.2.53"),
    )
    return evolve(default, **changes)


def resolver(*nameservers: str, **changes: Any) -> Resolver:
    """Return the content of resolv.conf.

    On a user-defined network, Docker's is ``resolver("127.0.0.11")``.

    :param changes: fields of :class:`~vmnet.model.identity.Resolver`
    """
    return evolve(Resolver(tuple(map(ip_address, nameservers))), **changes)


def wiring(identity: Identity, *, contain: bool = True, nameserver: str = "") -> Wiring:
    """Return a wiring like that of the built-in bridge strategy: br0 and tap0, br1 and tap1, …

    :param nameserver: address, with prefix length, of a forwarder on the first bridge; without it,
        all bridges have link-local addresses
    """
    ports = tuple(
        _port(number, interface, identity, contain=contain)
        for number, interface in enumerate(identity.interfaces)
    )
    if not nameserver:
        return Wiring(ports, contain)
    address = IPv4Interface(nameserver)
    own = local(Wiring(ports))
    link_local = None if address.ip.is_link_local else own.address
    first = evolve(ports[0], local=evolve(own, address=address, link_local=link_local))
    return Wiring((first, *ports[1:]), contain, address.ip)


def local(wiring: Wiring) -> Local:
    """Return the container's own end on the first port of :func:`wiring`."""
    own = wiring.ports[0].local
    assert own is not None
    return own


def settings(environ: Mapping[str, str] | None = None, *rows: Setting[Any]) -> Settings:
    """Parse the settings of the core and the given rows of a plugin from an environment."""
    return table.parse(environ or {}, (*core.CORE, *rows))


def machine(**changes: Any) -> Machine:
    """Return a machine with a NIC and 512 MiB of memory, but nothing to boot.

    :param changes: fields of :class:`~vmnet.model.machine.Machine`
    """
    nic = Nic("net0", "02:42:ac:11:00:02", 1500, Tap("tap0", (100,)))
    return evolve(Machine("web", 512 << 20, 1, "tcg", RUN_DIR, (nic,)), **changes)


def golden(path: Path, text: str) -> str:
    """Return the expected text from a golden file, which a person has reviewed.

    Use it as ``assert rendered == golden(path, rendered)``. ``UPDATE_GOLDEN=1`` in the environment
    writes ``text`` to the file first; review the diff before you commit it.
    """
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _default_route(gateway: str, interface: Interface) -> Route:
    hop = ip_address(gateway)
    destination = "0.0.0.0/0" if hop.version == 4 else "::/0"
    return route(destination, gateway, onlink=not interface.is_neighbour(hop))


def _mac(addresses: tuple[Any, ...]) -> str:
    """Derive a MAC from the first address like Docker: 02:42 and the IPv4 address."""
    return f"02:42:{addresses[0].packed[-4:].hex(':') if addresses else '00:00:00:01'}"


def _port(number: int, interface: Interface, identity: Identity, *, contain: bool) -> Port:
    return Port(
        uplink=interface.name,
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=Saved(up=True, queue_length=0, addr_gen_mode=0, messages=()),
        backend=Tap(f"tap{number}", (100 + number,)),
        path=Bridge(addressing.new_mac(interface.mac, "uplink")),
        local=Local(
            device=f"br{number}",
            mac=addressing.new_mac(interface.mac, "bridge"),
            address=addressing.link_local(interface.mac, identity),
        ),
    )
