"""The nftables rules that keep ports of the guest's addresses for the container.

They translate addresses without state, on the uplink, below the bridge. A packet to a kept port of
the guest's address gets the bridge's MAC and a link-local address of the bridge as destination. A
packet from the bridge with a kept source port gets the guest's MAC and address as source.

The bridge needs no address that the network knows:

- It asks for neighbours with ARP probes (RFC 5227), from 0.0.0.0: hosts with strict reverse path
  filters do not answer a sender that is link-local, and no host learns an address from a probe.
- The rules answer ARP requests for the guest's address with the guest's MAC, and the guest does not
  receive them. So kept ports are reachable before the guest has booted.
- Nothing else leaves from the link-local addresses for other networks.

Pure functions return the objects of libnftables-json(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.model.kept import Kept, StandIn
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

_LINK_LOCAL = {"prefix": {"addr": "169.254.0.0", "len": 16}}
_IS_LATER_FRAGMENT = unequal({"&": [field("ip", "frag-off"), 0x1FFF]}, 0)
# ICMPv6 messages that the bridge sends: neighbour discovery, multicast listener reports.
_NEIGHBOURS = [135, 136, 143]


def table(uplink: str, guest_mac: str, own_mac: str, kept: Kept) -> list[Object]:
    """Return commands that replace an uplink's table.

    :param own_mac: the bridge's MAC
    """
    own = ("netdev", _name(uplink))
    entering = _entering(uplink, guest_mac, own_mac, kept)
    leaving = _leaving(guest_mac, own_mac, kept)
    return [
        *without_table(*own),
        add_table(*own),
        *add_chain(*own, "ingress", entering, hook="ingress", dev=uplink, prio=0),
        *add_chain(*own, "egress", leaving, hook="egress", dev=uplink, prio=0),
    ]


def no_table(uplink: str) -> list[Object]:
    """Return commands that remove an uplink's table, if there is one."""
    return without_table("netdev", _name(uplink))


def _name(uplink: str) -> str:
    return f"vmnet-{uplink}"


def _entering(uplink: str, guest_mac: str, own_mac: str, kept: Kept) -> Iterator[list[Object]]:
    for stand_in in kept.stand_ins:
        if isinstance(stand_in.guest, IPv4Address):
            yield _answer_arp(uplink, guest_mac, stand_in.guest)
        protocol = _protocol(stand_in)
        for ports in _by_protocol(kept.ports):
            yield [
                equal(field("ether", "daddr"), guest_mac),
                equal(field(protocol, "daddr"), str(stand_in.guest)),
                equal(field(ports[0].protocol, "dport"), numbers(ports)),
                replace(field("ether", "daddr"), own_mac),
                replace(field(protocol, "daddr"), str(stand_in.own)),
            ]


def _answer_arp(uplink: str, guest_mac: str, address: IPv4Address) -> list[Object]:
    """Turn a request for the address into its answer (RFC 826), and send it back."""
    sender, target = field("arp", "saddr ip"), field("arp", "daddr ip")
    sender_mac, target_mac = field("arp", "saddr ether"), field("arp", "daddr ether")
    return [
        equal(field("arp", "operation"), "request"),
        equal(target, str(address)),
        replace(field("ether", "daddr"), field("ether", "saddr")),
        replace(field("ether", "saddr"), guest_mac),
        replace(field("arp", "operation"), "reply"),
        replace(target_mac, sender_mac),
        replace(target, sender),
        replace(sender_mac, guest_mac),
        replace(sender, str(address)),
        {"fwd": {"dev": uplink}},
    ]


def _leaving(guest_mac: str, own_mac: str, kept: Kept) -> Iterator[list[Object]]:
    # The guest's frames, which are most, match the first rule.
    yield [unequal(field("ether", "saddr"), own_mac), ACCEPT]
    for stand_in in kept.stand_ins:
        yield from _as_guest(guest_mac, stand_in, kept.ports)
    if kept.of_version(4):
        yield from _leaving_ipv4(guest_mac, kept)
    if kept.of_version(6):
        yield [equal(field("icmpv6", "type"), members(_NEIGHBOURS)), ACCEPT]
        yield [equal(meta("protocol"), "ip6"), DROP]


def _as_guest(
    guest_mac: str, stand_in: StandIn, ports: tuple[PortRange, ...]
) -> Iterator[list[Object]]:
    protocol = _protocol(stand_in)
    own = equal(field(protocol, "saddr"), str(stand_in.own))
    change = _change(guest_mac, stand_in)
    for same in _by_protocol(ports):
        yield [own, equal(field(same[0].protocol, "sport"), numbers(same)), *change]
    if protocol == "ip":  # of a datagram, only the first fragment has ports
        yield [own, _IS_LATER_FRAGMENT, *change]


def _leaving_ipv4(guest_mac: str, kept: Kept) -> Iterator[list[Object]]:
    own = members(str(each.own) for each in kept.of_version(4))
    sender, target = field("arp", "saddr ip"), field("arp", "daddr ip")
    is_request = equal(field("arp", "operation"), "request")
    no_announcement = unequal(target, own)
    yield [is_request, equal(sender, own), no_announcement, replace(sender, "0.0.0.0")]
    is_local = equal(field("ip", "daddr"), _LINK_LOCAL)
    yield [equal(field("ip", "saddr"), own), is_local, ACCEPT]
    yield [equal(field("ip", "saddr"), own), DROP]
    # A UDP service that is bound to no address may answer from the bridge's spare address.
    for ports in _by_protocol(kept.ports):
        if ports[0].protocol == "udp":
            sport = equal(field("udp", "sport"), numbers(ports))
            change = _change(guest_mac, kept.of_version(4)[0])
            yield [sport, *change]
            yield [_IS_LATER_FRAGMENT, *change]


def _change(guest_mac: str, stand_in: StandIn) -> list[Object]:
    return [
        replace(field(_protocol(stand_in), "saddr"), str(stand_in.guest)),
        replace(field("ether", "saddr"), guest_mac),
        ACCEPT,
    ]


def _by_protocol(ports: tuple[PortRange, ...]) -> Iterator[list[PortRange]]:
    for protocol in ("tcp", "udp"):
        if found := [each for each in ports if each.protocol == protocol]:
            yield found


def _protocol(stand_in: StandIn) -> str:
    return "ip6" if isinstance(stand_in.guest, IPv6Address) else "ip"
