"""A kit for the tests of plugins: an identity like a container's, the wiring for it, settings.

Everything has a default, so that a test says only what it is about:

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

from vmnet import settings as table
from vmnet.identity import Identity, Interface, Resolver, Route
from vmnet.machine import Machine, Nic
from vmnet.net import addressing
from vmnet.settings import Setting, Settings
from vmnet.wiring import Port, Saved, Wiring

RUN_DIR = Path("/run/vmnet")


def route(destination: str, gateway: str = "", **changes: Any) -> Route:
    """A route through a gateway, or to the link itself without one."""
    made = Route(ip_network(destination), ip_address(gateway) if gateway else None)
    return evolve(made, **changes)


def interface(*addresses: str, name: str = "eth0", gateway: str = "", **changes: Any) -> Interface:
    """A veth with Docker's MAC for its first address, and a default route where it has a gateway.

    :param changes: fields of :class:`~vmnet.identity.Interface`
    """
    own = tuple(map(ip_interface, addresses))
    bare = Interface(name, _mac(own), kind="veth", addresses=own)
    made = evolve(bare, routes=(_default_route(gateway, bare),) if gateway else ())
    return evolve(made, **changes)


def identity(*interfaces: Interface, **changes: Any) -> Identity:
    """A container named ``web``; on Docker's default bridge unless interfaces are given.

    :param changes: fields of :class:`~vmnet.identity.Identity`
    """
    made = Identity(
        hostname="web",
        interfaces=interfaces or (interface("172.17.0.2/16", gateway="172.17.0.1"),),
        resolver=resolver("192.0.2.53"),
    )
    return evolve(made, **changes)


def resolver(*nameservers: str, **changes: Any) -> Resolver:
    """What resolv.conf said: ``resolver("127.0.0.11")`` is Docker's on a network of your own.

    :param changes: fields of :class:`~vmnet.identity.Resolver`
    """
    return evolve(Resolver(tuple(map(ip_address, nameservers))), **changes)


def wiring(identity: Identity, *, contain: bool = True, nameserver: str = "") -> Wiring:
    """What the built-in bridge strategy plans, br0 and tap0 for the first interface and so on.

    :param nameserver: the first bridge's address with its prefix length, where the guest asks a
        forwarder there; the bridges are link-local otherwise
    """
    ports = tuple(
        _port(number, interface, identity, contain=contain)
        for number, interface in enumerate(identity.interfaces)
    )
    if not nameserver:
        return Wiring(ports, contain)
    address = IPv4Interface(nameserver)
    link_local = None if address.ip.is_link_local else ports[0].bridge_address
    first = evolve(ports[0], bridge_address=address, link_local=link_local)
    return Wiring((first, *ports[1:]), contain, address.ip)


def settings(environ: Mapping[str, str] | None = None, *rows: Setting[Any]) -> Settings:
    """The core's settings and a plugin's own rows, parsed from an environment."""
    return table.parse(environ or {}, (*table.CORE, *rows))


def machine(**changes: Any) -> Machine:
    """A machine with one NIC and half a GiB of memory that has nothing to boot yet.

    :param changes: fields of :class:`~vmnet.machine.Machine`
    """
    nic = Nic("net0", "02:42:ac:11:00:02", 1500, (100,))
    return evolve(Machine("web", 512 << 20, 1, "tcg", RUN_DIR, (nic,)), **changes)


def golden(path: Path, text: str) -> str:
    """The expected text: a file that a person has read and found right.

    ``assert rendered == golden(path, rendered)`` compares the two. With ``UPDATE_GOLDEN=1`` in the
    environment the file is written first, to be read again in the diff before it is committed.
    """
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _default_route(gateway: str, interface: Interface) -> Route:
    hop = ip_address(gateway)
    destination = "0.0.0.0/0" if hop.version == 4 else "::/0"
    return route(destination, gateway, onlink=not interface.is_neighbour(hop))


def _mac(own: tuple[Any, ...]) -> str:
    """Docker's: 02:42 and the IPv4 address."""
    return f"02:42:{own[0].packed[-4:].hex(':') if own else '00:00:00:01'}"


def _port(number: int, interface: Interface, identity: Identity, *, contain: bool) -> Port:
    return Port(
        uplink=interface.name,
        uplink_mac=addressing.new_mac(interface.mac, "uplink"),
        bridge=f"br{number}",
        bridge_mac=addressing.new_mac(interface.mac, "bridge"),
        bridge_address=addressing.link_local(interface.mac, identity),
        tap=f"tap{number}",
        tap_fds=(100 + number,),
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=Saved(up=True, queue_length=0, addr_gen_mode=0, records=()),
    )
