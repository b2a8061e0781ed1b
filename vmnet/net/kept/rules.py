"""The nftables rules that keep ports of the guest's addresses for the container.

They translate addresses without state, on the uplink. A packet to a kept port of the guest's
address gets a link-local address of the container as destination. A packet from the container with
a kept source port gets the guest's address as source. Behind a bridge, the MACs change as well. A
redirected uplink has the guest's MAC.

The container needs no address that the network knows:

- A bridge asks for neighbours with ARP probes (RFC 5227), from 0.0.0.0: hosts with strict reverse
  path filters do not answer a sender that is link-local, and no host learns an address from a
  probe. A redirected uplink asks in the guest's name, and the guest gets a copy of the answers.
- The rules answer ARP requests for the guest's address with the guest's MAC, and the guest does not
  receive them. So kept ports are reachable before the guest has booted.
- The container's kernel answers neighbour solicitations for the guest's address, as if for its
  link-local address. No checksum changes when one replaces the other, nor with the MACs
  (RFC 6296 section 3), because nftables can't compute that of an ICMPv6 option.
- Nothing else leaves from the link-local addresses for other networks.

Only the first fragment of a packet has ports, so both the guest and the container get the later
fragments. A host drops fragments whose first is missing.

Pure functions return the objects of libnftables-json(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.model.base import frozen
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
    raw,
    replace,
    unequal,
    without_table,
)

_LINK_LOCAL = {"prefix": {"addr": "169.254.0.0", "len": 16}}
_IS_LATER_FRAGMENT = unequal({"&": [field("ip", "frag-off"), 0x1FFF]}, 0)
_IS_LATER_FRAGMENT6 = unequal({"exthdr": {"name": "frag", "field": "frag-off"}}, 0)
# ICMPv6 messages that the container sends: neighbour discovery, multicast listener reports.
_SOLICITATION, _ADVERTISEMENT, _REPORT = 135, 136, 143
_IS_SOLICITATION = equal(field("icmpv6", "type"), _SOLICITATION)
_IS_ADVERTISEMENT = equal(field("icmpv6", "type"), _ADVERTISEMENT)
# Fields of neighbour discovery (RFC 4861 sections 4.3, 4.4 and 4.6.1), as bits after the IP header.
_TARGET = raw("th", 64, 128)
_OPTION, _OPTION_MAC = raw("th", 192, 8), raw("th", 208, 48)
_TARGET_MAC = 2


@frozen
class Place:
    """The devices to which the rules apply.

    :param own_mac: the MAC of the container's end: the bridge's, or the guest's if the uplink's
        frames are redirected
    :param outside: the device of a redirected port that has a spare address; empty without one
    """

    uplink: str
    tap: str
    guest_mac: str
    own_mac: str
    outside: str = ""

    @property
    def shares_mac(self) -> bool:
        """Whether the container sends with the guest's MAC."""
        return self.own_mac == self.guest_mac


def table(place: Place, kept: Kept) -> list[Object]:
    """Return commands that replace an uplink's table."""
    own = ("netdev", _name(place.uplink))
    commands = [
        *without_table(*own),
        add_table(*own),
        *add_chain(
            *own, "ingress", _entering(place, kept), hook="ingress", dev=place.uplink, prio=0
        ),
        *add_chain(*own, "egress", _leaving(place, kept), hook="egress", dev=place.uplink, prio=0),
    ]
    if place.outside and kept.of_version(4):
        rules = _from_spare_address(place, kept)
        commands += add_chain(*own, "outside", rules, hook="egress", dev=place.outside, prio=0)
    return commands


def no_table(uplink: str) -> list[Object]:
    """Return commands that remove an uplink's table, if there is one."""
    return without_table("netdev", _name(uplink))


def _name(uplink: str) -> str:
    return f"vmnet-{uplink}"


def _entering(place: Place, kept: Kept) -> Iterator[list[Object]]:
    for stand_in in kept.stand_ins:
        protocol = _protocol(stand_in)
        to_guest = [
            equal(field("ether", "daddr"), place.guest_mac),
            equal(field(protocol, "daddr"), str(stand_in.guest)),
        ]
        to_own = [
            *_to_own_mac(place),
            replace(field(protocol, "daddr"), str(stand_in.own)),
        ]
        if isinstance(stand_in.guest, IPv4Address):
            yield _answer_arp(place, stand_in.guest)
            if place.shares_mac:
                yield [
                    equal(field("arp", "operation"), "reply"),
                    equal(field("arp", "daddr ip"), str(stand_in.guest)),
                    {"dup": {"addr": place.tap}},
                ]
        else:
            yield from _solicitations(place, stand_in)
        later = _IS_LATER_FRAGMENT if protocol == "ip" else _IS_LATER_FRAGMENT6
        yield [*to_guest, later, {"dup": {"addr": place.tap}}, *to_own, ACCEPT]
        for ports in _by_protocol(kept.ports):
            yield [*to_guest, equal(field(ports[0].protocol, "dport"), numbers(ports)), *to_own]


def _to_own_mac(place: Place) -> list[Object]:
    return [] if place.shares_mac else [replace(field("ether", "daddr"), place.own_mac)]


def _answer_arp(place: Place, address: IPv4Address) -> list[Object]:
    """Turn a request for the address into its answer (RFC 826), and send it back."""
    sender, target = field("arp", "saddr ip"), field("arp", "daddr ip")
    sender_mac, target_mac = field("arp", "saddr ether"), field("arp", "daddr ether")
    return [
        equal(field("arp", "operation"), "request"),
        equal(target, str(address)),
        replace(field("ether", "daddr"), field("ether", "saddr")),
        replace(field("ether", "saddr"), place.guest_mac),
        replace(field("arp", "operation"), "reply"),
        replace(target_mac, sender_mac),
        replace(target, sender),
        replace(sender_mac, place.guest_mac),
        replace(sender, str(address)),
        {"fwd": {"dev": place.uplink}},
    ]


def _solicitations(place: Place, stand_in: StandIn) -> Iterator[list[Object]]:
    """Make solicitations for the guest's address those for the container's own.

    The kernel adds its MAC only to the answer to a solicitation by multicast.
    """
    address = field("ip6", "daddr")
    for guest, own in (
        (str(stand_in.guest), str(stand_in.own)),
        (_solicited(stand_in.guest), _solicited(stand_in.own)),
    ):
        yield [
            _IS_SOLICITATION,
            equal(_TARGET, _hexadecimal(stand_in.guest)),
            equal(address, guest),
            *_to_own_mac(place),
            replace(_TARGET, _hexadecimal(stand_in.own)),
            replace(address, own),
            ACCEPT,
        ]


def _solicited(address: IPv4Address | IPv6Address) -> str:
    """Return the solicited-node multicast address (RFC 4291 section 2.7.1)."""
    return str(IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF))


def _hexadecimal(address: IPv4Address | IPv6Address) -> str:
    return f"0x{address.packed.hex()}"


def _leaving(place: Place, kept: Kept) -> Iterator[list[Object]]:
    # The guest's frames, which are most, match the first rule, or pass below the egress hook.
    yield [unequal(field("ether", "saddr"), place.own_mac), ACCEPT]
    for stand_in in kept.stand_ins:
        yield from _as_guest(place, stand_in, kept.ports)
    if kept.of_version(4):
        yield from _leaving_ipv4(place, kept)
    if kept.of_version(6):
        messages = members([_SOLICITATION, _ADVERTISEMENT, _REPORT])
        yield [equal(field("icmpv6", "type"), messages), ACCEPT]
        yield [equal(meta("protocol"), "ip6"), DROP]


def _as_guest(
    place: Place, stand_in: StandIn, ports: tuple[PortRange, ...]
) -> Iterator[list[Object]]:
    protocol = _protocol(stand_in)
    own = equal(field(protocol, "saddr"), str(stand_in.own))
    change = _change(place, stand_in)
    if protocol == "ip6":
        if not place.shares_mac:
            has_mac = equal(_OPTION, _TARGET_MAC)
            yield [_IS_ADVERTISEMENT, own, has_mac, replace(_OPTION_MAC, _number(place.guest_mac))]
        target = replace(_TARGET, _hexadecimal(stand_in.guest))
        yield [_IS_ADVERTISEMENT, own, target, *change]
    for same in _by_protocol(ports):
        yield [own, equal(field(same[0].protocol, "sport"), numbers(same)), *change]
    # Of a datagram, only the first fragment has ports.
    yield [own, _IS_LATER_FRAGMENT if protocol == "ip" else _IS_LATER_FRAGMENT6, *change]


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _leaving_ipv4(place: Place, kept: Kept) -> Iterator[list[Object]]:
    sender, target = field("arp", "saddr ip"), field("arp", "daddr ip")
    is_request = equal(field("arp", "operation"), "request")
    own = members(str(each.own) for each in kept.of_version(4))
    no_announcement = unequal(target, own)
    if place.shares_mac:
        for each in kept.of_version(4):
            is_own = equal(sender, str(each.own))
            yield [is_request, is_own, no_announcement, replace(sender, str(each.guest))]
    else:
        yield [is_request, equal(sender, own), no_announcement, replace(sender, "0.0.0.0")]
    is_local = equal(field("ip", "daddr"), _LINK_LOCAL)
    yield [equal(field("ip", "saddr"), own), is_local, ACCEPT]
    yield [equal(field("ip", "saddr"), own), DROP]
    if not place.shares_mac:
        yield from _from_spare_address(place, kept)


def _from_spare_address(place: Place, kept: Kept) -> Iterator[list[Object]]:
    """Let a UDP service that is bound to no address answer from the spare address."""
    for ports in _by_protocol(kept.ports):
        if ports[0].protocol == "udp":
            sport = equal(field("udp", "sport"), numbers(ports))
            stand_in, *_ = kept.of_version(4)
            change = [
                replace(field("ip", "saddr"), str(stand_in.guest)),
                replace(field("ether", "saddr"), place.guest_mac),
                ACCEPT,
            ]
            yield [sport, *change]
            yield [_IS_LATER_FRAGMENT, *change]


def _change(place: Place, stand_in: StandIn) -> list[Object]:
    mac = [] if place.shares_mac else [replace(field("ether", "saddr"), place.guest_mac)]
    return [replace(field(_protocol(stand_in), "saddr"), str(stand_in.guest)), *mac, ACCEPT]


def _by_protocol(ports: tuple[PortRange, ...]) -> Iterator[list[PortRange]]:
    for protocol in ("tcp", "udp"):
        if found := [each for each in ports if each.protocol == protocol]:
            yield found


def _protocol(stand_in: StandIn) -> str:
    return "ip6" if isinstance(stand_in.guest, IPv6Address) else "ip"
