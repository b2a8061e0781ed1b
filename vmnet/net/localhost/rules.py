"""The nftables rules that lead from 127.0.0.1 and ::1 to the guest.

A packet to a loopback address for which the container has no socket goes to the guest, from a
link-local address of the container that serves no other purpose. The guest's answers to this
address become answers from the loopback address. So only packets change that nothing in the
container would accept.

The rules need no connection tracking. The guest can open no TCP connection to the address. Its
datagrams pass if the container has sent one to their port from theirs within two minutes: a set
with timeouts lists these pairs.

The guest may send its answers over IPv4 to its gateway, because it need not know that the address
is on its link. The rules send them to the container. Over IPv6, the address is on every link.

Pure functions return the objects of libnftables-json(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from vmnet.model.base import frozen
from vmnet.model.kept import StandIn
from vmnet.model.ports import PortRange
from vmnet.net.nft_objects import (
    ACCEPT,
    DROP,
    Object,
    add_chain,
    add_table,
    equal,
    field,
    members,
    meta,
    numbers,
    replace,
    unequal,
    without_table,
)

_TABLE, _ASKED = "vmnet_localhost", "asked"
_SECONDS, _MOST = 120, 4096  # how long an answer may take, and how many are awaited
_SYN, _ACK = 0x02, 0x10
_OPENS_CONNECTION = equal({"&": [field("tcp", "flags"), _SYN | _ACK]}, _SYN)
_LINK_LOCAL = {"prefix": {"addr": "fe80::", "len": 10}}
_RAW = -300  # before connection tracking
_SOURCE_PORT, _DESTINATION_PORT = field("udp", "sport"), field("udp", "dport")


@frozen
class End:
    """The container's own end of the guest's link.

    :param tap: the guest's tap
    :param device: the device that has the addresses
    """

    tap: str
    device: str
    mac: str


def tables(end: End, stand_ins: Iterable[StandIn], kept: Iterable[PortRange]) -> list[Object]:
    """Return commands that replace the tables.

    :param stand_ins: at most one for each IP version
    :param kept: ports that never lead to the guest
    """
    ports = tuple(kept)
    commands = no_tables()
    for stand_in in stand_ins:
        protocol = _protocol(stand_in)
        if protocol == "ip":
            own = ("netdev", _TABLE)
            detour = [_detour(end, stand_in)]
            commands += [add_table(*own)]
            commands += add_chain(*own, "detour", detour, hook="ingress", dev=end.tap, prio=0)
        own = (protocol, _TABLE)
        to_guest, answers = _to_guest(end, stand_in, ports), _answers(end, stand_in)
        commands += [add_table(*own), _asked(protocol)]
        commands += add_chain(*own, "prerouting", to_guest, hook="prerouting", prio=_RAW)
        commands += add_chain(*own, "input", answers, hook="input", prio=_RAW)
    return commands


def no_tables() -> list[Object]:
    """Return commands that remove the tables, if there are any."""
    return [each for family in ("netdev", "ip", "ip6") for each in without_table(family, _TABLE)]


def _asked(family: str) -> Object:
    """Return the command that adds the set of pairs of UDP ports: the container's, the guest's."""
    pairs = {"type": ["inet_service", "inet_service"], "flags": ["timeout"]}
    limits = {"timeout": _SECONDS, "size": _MOST}
    return {"add": {"set": {"family": family, "table": _TABLE, "name": _ASKED, **pairs, **limits}}}


def _detour(end: End, stand_in: StandIn) -> list[Object]:
    return [
        equal(field("ip", "daddr"), str(stand_in.own)),
        replace(field("ether", "daddr"), end.mac),
        replace(meta("pkttype"), "host"),
    ]


def _to_guest(end: End, stand_in: StandIn, kept: tuple[PortRange, ...]) -> Iterator[list[Object]]:
    protocol = _protocol(stand_in)
    yield [unequal(meta("iifname"), "lo"), ACCEPT]
    yield [unequal(field(protocol, "daddr"), str(stand_in.loopback)), ACCEPT]
    yield [unequal(meta("l4proto"), members(("tcp", "udp"))), ACCEPT]
    for each in ("tcp", "udp"):
        if ports := [ports for ports in kept if ports.protocol == each]:
            yield [equal(field(each, "dport"), numbers(ports)), ACCEPT]
    # True for every socket. A rule ends here if there is no socket.
    has_socket = {"op": "<=", "left": {"socket": {"key": "transparent"}}, "right": 1}
    yield [{"match": has_socket}, ACCEPT]
    pair = {"concat": [_SOURCE_PORT, _DESTINATION_PORT]}
    yield [
        equal(meta("l4proto"), "udp"),
        {"set": {"op": "update", "elem": pair, "set": f"@{_ASKED}"}},
    ]
    yield [
        replace(field(protocol, "saddr"), str(stand_in.own)),
        replace(field(protocol, "daddr"), str(stand_in.guest)),
        {"dup": {"addr": str(stand_in.guest), "dev": end.device}},
        DROP,
    ]


def _answers(end: End, stand_in: StandIn) -> Iterator[list[Object]]:
    """Yield the rules for input, because routing refuses packets with loopback addresses."""
    protocol, loopback = _protocol(stand_in), str(stand_in.loopback)
    source, destination = field(protocol, "saddr"), field(protocol, "daddr")
    to_own = equal(destination, str(stand_in.own))
    from_guest = equal(meta("iifname"), end.device)
    guest = str(stand_in.guest)
    # A service that is bound to no address answers a link-local address from one.
    sources = guest if protocol == "ip" else members((guest, _LINK_LOCAL))
    change = [replace(source, loopback), replace(destination, loopback), ACCEPT]
    pair = {"concat": [_DESTINATION_PORT, _SOURCE_PORT]}
    yield [to_own, _OPENS_CONNECTION, DROP]
    is_tcp, is_asked = equal(meta("l4proto"), "tcp"), equal(pair, f"@{_ASKED}")
    yield [from_guest, equal(source, guest), to_own, is_tcp, *change]
    yield [from_guest, equal(source, sources), to_own, is_asked, *change]
    yield [to_own, equal(meta("l4proto"), members(("tcp", "udp"))), DROP]


def _protocol(stand_in: StandIn) -> str:
    return "ip" if isinstance(stand_in.guest, IPv4Address) else "ip6"
