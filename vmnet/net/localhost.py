"""Let programs of the container reach the guest at 127.0.0.1, by nftables rules without state.

A TCP packet to 127.0.0.1 for which the container has no socket goes to the guest, from a link-local
address of the container that serves no other purpose. The guest's answers to this address come back
as answers from 127.0.0.1. So only connections change that nothing in the container would accept.

The guest may send its answers to its gateway, because it need not know that the address is on its
link. The rules send them to the container.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface

from attrs import evolve

from vmnet.model.kept import StandIn
from vmnet.model.ports import PortRange
from vmnet.model.wiring import Local, Port
from vmnet.net import links, nft, rtnl
from vmnet.net.nft_objects import (
    ACCEPT,
    DROP,
    Object,
    add_chain,
    add_table,
    equal,
    field,
    meta,
    numbers,
    replace,
    unequal,
    without_table,
)

_SETTING, _TABLE = "VMNET_LOCALHOST", "vmnet_localhost"
_FAMILIES = ("netdev", "ip")
_LOOPBACK = "127.0.0.1"
_LOOPBACKS = {"prefix": {"addr": "127.0.0.0", "len": 8}}
_SYN, _ACK = 0x02, 0x10
_OPENS_CONNECTION = equal({"&": [field("tcp", "flags"), _SYN | _ACK]}, _SYN)
_RAW = -300  # before connection tracking


def check(port: Port) -> None:
    """Let the kernel check a port's rules without loading them.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    :raises vmnet.errors.PrivilegeError: the capability NET_ADMIN is missing
    """
    for local, stand_in in _served([port]):
        # The devices of the rules do not exist yet.
        anywhere = evolve(local, device="lo")
        nft.check(ruleset("lo", anywhere, stand_in, ()), _SETTING)


def load(ports: Sequence[Port]) -> None:
    """Load the rules of the port that serves localhost, if there is one.

    :raises vmnet.errors.BridgeError: nft is missing, or the kernel lacks what the rules need
    """
    for port in ports:
        for local, stand_in in _served([port]):
            assert port.tap is not None
            kept = port.kept.ports if port.kept is not None else ()
            nft.load(ruleset(port.tap.name, local, stand_in, kept), _SETTING)


def remove(ports: Sequence[Port]) -> None:
    """Remove the rules, if there are any.

    :raises vmnet.errors.BridgeError: nft is missing, or refuses
    """
    if any(_served(ports)):
        commands = [each for family in _FAMILIES for each in without_table(family, _TABLE)]
        nft.load({"nftables": commands}, _SETTING)


def _served(ports: Sequence[Port]) -> Iterator[tuple[Local, StandIn]]:
    for port in ports:
        if port.localhost is not None and port.local is not None:
            yield port.local, port.localhost


def add_address(kernel: rtnl.Rtnl, port: Port, local: Local, stand_in: StandIn) -> None:
    """Give a port's own end the address from which the guest is reached, and the way to the guest.

    Without the route, a strict reverse path filter drops the guest's answers.
    """
    guest = stand_in.guest
    if isinstance(guest, IPv4Address) and guest not in port.guest_addresses:
        links.add_host_route(kernel, local.device, guest)
    links.add_address(kernel, local.device, IPv4Interface((str(stand_in.own), 32)))
    links.route_loopback(kernel, local.device)


def ruleset(tap: str, local: Local, stand_in: StandIn, kept: Iterable[PortRange]) -> Object:
    """Return a ruleset that replaces the tables.

    :param tap: the guest's tap, or any device to check the ruleset
    :param kept: ports that never lead to the guest
    """
    is_from_guest = equal(field("ip", "saddr"), str(stand_in.guest))
    to_own = equal(field("ip", "daddr"), str(stand_in.own))
    is_tcp = equal(meta("l4proto"), "tcp")
    detour = [[to_own, replace(field("ether", "daddr"), local.mac)]]
    # Not in an IP hook: with br_netfilter, those run before the filter of the local device.
    entering = [
        [equal(field("ip", "daddr"), _LOOPBACKS), DROP],
        [to_own, _OPENS_CONNECTION, DROP],
        [is_from_guest, to_own, is_tcp, replace(field("ip", "daddr"), _LOOPBACK)],
    ]
    # After the routing decision, which refuses packets that come from a loopback address.
    answers = [
        [
            *(equal(meta("iifname"), local.device), is_from_guest),
            *(equal(field("ip", "daddr"), _LOOPBACK), is_tcp),
            replace(field("ip", "saddr"), _LOOPBACK),
        ]
    ]
    device, own = ("netdev", _TABLE), ("ip", _TABLE)
    commands = [
        *(each for family in _FAMILIES for each in without_table(family, _TABLE)),
        *(add_table(family, _TABLE) for family in _FAMILIES),
        *add_chain(*device, "detour", detour, hook="ingress", dev=tap, prio=0),
        *add_chain(*device, "entering", entering, hook="ingress", dev=local.device, prio=0),
        *add_chain(
            *(*own, "prerouting", _to_guest(local.device, stand_in, kept)),
            hook="prerouting",
            prio=_RAW,
        ),
        *add_chain(*own, "input", answers, hook="input", prio=_RAW),
    ]
    return {"nftables": commands}


def _to_guest(device: str, stand_in: StandIn, kept: Iterable[PortRange]) -> Iterator[list[Object]]:
    yield [unequal(meta("iifname"), "lo"), ACCEPT]
    yield [unequal(field("ip", "daddr"), _LOOPBACK), ACCEPT]
    yield [unequal(meta("l4proto"), "tcp"), ACCEPT]
    if ports := [each for each in kept if each.protocol == "tcp"]:
        yield [equal(field("tcp", "dport"), numbers(ports)), ACCEPT]
    # True for every socket. A rule ends here if there is no socket.
    has_socket = {"op": "<=", "left": {"socket": {"key": "transparent"}}, "right": 1}
    yield [{"match": has_socket}, ACCEPT]
    yield [
        replace(field("ip", "saddr"), str(stand_in.own)),
        replace(field("ip", "daddr"), str(stand_in.guest)),
        {"dup": {"addr": str(stand_in.guest), "dev": device}},
        DROP,
    ]
