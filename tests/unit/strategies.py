"""Hypothesis strategies for the data types: any value that the types of their fields allow."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from vmnet.model.delivery import Daemon
from vmnet.model.devices import Balloon, Cdrom, Channel, Disk, Tpm
from vmnet.model.identity import Host, Identity, Interface, Neighbour, Resolver, Route, Router
from vmnet.model.machine import Kernel, Machine, Nic
from vmnet.model.wiring import (
    Bridge,
    Custom,
    Local,
    Port,
    Saved,
    SavedMessage,
    Stream,
    Tap,
    Wiring,
)

Value = TypeVar("Value")


def tuples(of: SearchStrategy[Value], most: int = 3) -> SearchStrategy[tuple[Value, ...]]:
    return st.lists(of, max_size=most).map(tuple)


text = st.text(st.characters(codec="utf-8"), max_size=12)
mtus = st.integers(68, 65535)
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
paths = text.filter(lambda name: "\0" not in name).map(lambda name: Path("/", name))
fds = tuples(st.integers(3, 1000))

ipv4 = st.ip_addresses(v=4)
ipv6 = st.ip_addresses(v=6)
addresses = ipv4 | ipv6
ipv4_interfaces = st.tuples(ipv4, st.integers(0, 32)).map(IPv4Interface)
interface_addresses = ipv4_interfaces | st.tuples(ipv6, st.integers(0, 128)).map(IPv6Interface)
ipv4_networks = st.tuples(ipv4, st.integers(0, 32)).map(
    lambda prefix: IPv4Network(prefix, strict=False)
)
networks = ipv4_networks | st.tuples(ipv6, st.integers(0, 128)).map(
    lambda prefix: IPv6Network(prefix, strict=False)
)

routes = st.builds(
    Route,
    destination=networks,
    gateway=st.none() | addresses,
    onlink=st.booleans(),
    metric=st.integers(0, 2**32 - 1),
    source=st.none() | addresses,
    mtu=st.none() | mtus,
)
neighbours = st.builds(Neighbour, address=st.ip_addresses(), mac=macs)
routers = st.builds(Router, gateway=ipv6, address=st.none() | ipv6, mac=macs | st.just(""))
interfaces = st.builds(
    Interface,
    name=text,
    mac=macs,
    mtu=mtus,
    kind=text,
    addresses=tuples(interface_addresses),
    routes=tuples(routes),
    router=st.none() | routers,
    off_link=tuples(networks),
    neighbours=tuples(neighbours),
)
identities = st.builds(
    Identity,
    hostname=text,
    domain=text,
    interfaces=tuples(interfaces),
    resolver=st.builds(
        Resolver, nameservers=tuples(addresses), search=tuples(text), options=tuples(text)
    ),
    hosts=tuples(st.builds(Host, address=addresses, names=tuples(text))),
    ntp=tuples(addresses),
    not_carried=tuples(text),
)

messages = st.builds(
    SavedMessage, kind=st.integers(16, 26), body=st.binary(max_size=40).map(lambda body: body.hex())
)
saved = st.builds(
    Saved,
    up=st.booleans(),
    queue_length=st.integers(0, 10000),
    addr_gen_mode=st.none() | st.integers(0, 3),
    messages=tuples(messages),
)
taps = st.builds(Tap, name=text, fds=fds)
locals_ = st.builds(
    Local,
    device=text,
    mac=macs,
    address=ipv4_interfaces,
    link_local=st.none() | ipv4_interfaces,
    spares=tuples(ipv4_interfaces),
    gateway=st.none() | ipv4,
)
ports = st.builds(
    Port,
    uplink=text,
    guest_mac=macs,
    mtu=mtus,
    saved=saved,
    backend=taps | st.builds(Stream, path=paths),
    path=st.builds(Bridge, uplink_mac=macs) | st.builds(Custom, description=text),
    local=st.none() | locals_,
    guest_addresses=tuples(ipv4),
    contain=st.booleans(),
    owned=tuples(addresses),
    strategy_data=text,
)
wirings = st.builds(Wiring, ports=tuples(ports), contain=st.booleans(), nameserver=st.none() | ipv4)

disks = st.builds(
    Disk,
    path=paths,
    format=st.sampled_from(("raw", "qcow2")),
    ephemeral=st.booleans(),
    guessed=st.booleans(),
)
daemons = st.builds(Daemon, name=text, argv=tuples(text), pidfile=paths)
devices = (
    disks
    | st.builds(Cdrom, path=paths, block=st.booleans())
    | st.builds(Channel, name=text, socket=paths)
    | st.builds(Tpm, socket=paths, daemon=st.none() | daemons)
    | st.builds(Balloon)
)
machines = st.builds(
    Machine,
    name=text,
    memory=st.integers(1, 2**45),
    cpus=st.integers(1, 1024),
    accelerator=st.sampled_from(("kvm", "tcg")),
    run_dir=paths,
    nics=tuples(st.builds(Nic, name=text, mac=macs, mtu=mtus, backend=taps)),
    devices=tuples(devices),
    kernel=st.none() | st.builds(Kernel, path=paths, initrd=st.none() | paths, append=text),
)
