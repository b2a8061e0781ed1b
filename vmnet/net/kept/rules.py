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

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from vmnet.model.kept import Kept, PortRange, StandIn

Object = dict[str, Any]

TABLE = {"family": "netdev", "name": "vmnet"}
_LINK_LOCAL = {"prefix": {"addr": "169.254.0.0", "len": 16}}
_ACCEPT, _DROP = {"accept": None}, {"drop": None}
_FRAGMENT_OFFSET = {"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 0x1FFF]}
_IS_LATER_FRAGMENT = {"match": {"op": "!=", "left": _FRAGMENT_OFFSET, "right": 0}}
# ICMPv6 messages that the bridge sends: neighbour discovery, multicast listener reports.
_NEIGHBOURS = [135, 136, 143]


def table(ports: Iterable[tuple[str, str, str, Kept]]) -> Object:
    """Return a ruleset that replaces the table with one for these ports.

    :param ports: the uplink, the guest's MAC, the bridge's MAC, and what the container keeps
    """
    commands = [*_without_table(), {"add": {"table": TABLE}}]
    for number, (uplink, guest_mac, own_mac, kept) in enumerate(ports):
        chains = {
            "ingress": _entering(uplink, guest_mac, own_mac, kept),
            "egress": _leaving(guest_mac, own_mac, kept),
        }
        for hook, rules in chains.items():
            name = f"{hook}{number}"
            commands.append(_chain(name, hook, uplink))
            commands += (_rule(name, rule) for rule in rules)
    return {"nftables": commands}


def no_table() -> Object:
    """Return a ruleset that removes the table, if there is one."""
    return {"nftables": _without_table()}


def _without_table() -> list[Object]:
    # Deleting a table that does not exist would be an error.
    return [{"add": {"table": TABLE}}, {"delete": {"table": TABLE}}]


def _chain(name: str, hook: str, uplink: str) -> Object:
    chain = {"table": TABLE["name"], "family": TABLE["family"], "name": name, "type": "filter"}
    return {"add": {"chain": {**chain, "hook": hook, "dev": uplink, "prio": 0, "policy": "accept"}}}


def _rule(chain: str, expressions: list[Object]) -> Object:
    rule = {"table": TABLE["name"], "family": TABLE["family"], "chain": chain, "expr": expressions}
    return {"add": {"rule": rule}}


def _entering(uplink: str, guest_mac: str, own_mac: str, kept: Kept) -> Iterator[list[Object]]:
    for stand_in in kept.stand_ins:
        if isinstance(stand_in.guest, IPv4Address):
            yield _answer_arp(uplink, guest_mac, stand_in.guest)
        protocol = _protocol(stand_in)
        for ports in _by_protocol(kept.ports):
            yield [
                _is(_field("ether", "daddr"), guest_mac),
                _is(_field(protocol, "daddr"), str(stand_in.guest)),
                _is(_field(ports[0].protocol, "dport"), _set(map(_port, ports))),
                _set_to(_field("ether", "daddr"), own_mac),
                _set_to(_field(protocol, "daddr"), str(stand_in.own)),
            ]


def _answer_arp(uplink: str, guest_mac: str, address: IPv4Address) -> list[Object]:
    """Turn a request for the address into its answer (RFC 826), and send it back."""
    sender, target = _field("arp", "saddr ip"), _field("arp", "daddr ip")
    sender_mac, target_mac = _field("arp", "saddr ether"), _field("arp", "daddr ether")
    return [
        _is(_field("arp", "operation"), "request"),
        _is(target, str(address)),
        _set_to(_field("ether", "daddr"), _field("ether", "saddr")),
        _set_to(_field("ether", "saddr"), guest_mac),
        _set_to(_field("arp", "operation"), "reply"),
        _set_to(target_mac, sender_mac),
        _set_to(target, sender),
        _set_to(sender_mac, guest_mac),
        _set_to(sender, str(address)),
        {"fwd": {"dev": uplink}},
    ]


def _leaving(guest_mac: str, own_mac: str, kept: Kept) -> Iterator[list[Object]]:
    # The guest's frames, which are most, match the first rule.
    yield [_is_not(_field("ether", "saddr"), own_mac), _ACCEPT]
    for stand_in in kept.stand_ins:
        yield from _as_guest(guest_mac, stand_in, kept.ports)
    if kept.of_version(4):
        yield from _leaving_ipv4(guest_mac, kept)
    if kept.of_version(6):
        yield [_is(_field("icmpv6", "type"), _set(_NEIGHBOURS)), _ACCEPT]
        yield [_is({"meta": {"key": "protocol"}}, "ip6"), _DROP]


def _as_guest(
    guest_mac: str, stand_in: StandIn, ports: tuple[PortRange, ...]
) -> Iterator[list[Object]]:
    protocol = _protocol(stand_in)
    own = _is(_field(protocol, "saddr"), str(stand_in.own))
    change = _change(guest_mac, stand_in)
    for same in _by_protocol(ports):
        yield [own, _is(_field(same[0].protocol, "sport"), _set(map(_port, same))), *change]
    if protocol == "ip":  # of a datagram, only the first fragment has ports
        yield [own, _IS_LATER_FRAGMENT, *change]


def _leaving_ipv4(guest_mac: str, kept: Kept) -> Iterator[list[Object]]:
    own = _set(str(each.own) for each in kept.of_version(4))
    sender, target = _field("arp", "saddr ip"), _field("arp", "daddr ip")
    is_request = _is(_field("arp", "operation"), "request")
    no_announcement = _is_not(target, own)
    yield [is_request, _is(sender, own), no_announcement, _set_to(sender, "0.0.0.0")]
    is_local = _is(_field("ip", "daddr"), _LINK_LOCAL)
    yield [_is(_field("ip", "saddr"), own), is_local, _ACCEPT]
    yield [_is(_field("ip", "saddr"), own), _DROP]
    # A UDP service that is bound to no address may answer from the bridge's spare address.
    for ports in _by_protocol(kept.ports):
        if ports[0].protocol == "udp":
            sport = _is(_field("udp", "sport"), _set(map(_port, ports)))
            change = _change(guest_mac, kept.of_version(4)[0])
            yield [sport, *change]
            yield [_IS_LATER_FRAGMENT, *change]


def _change(guest_mac: str, stand_in: StandIn) -> list[Object]:
    return [
        _set_to(_field(_protocol(stand_in), "saddr"), str(stand_in.guest)),
        _set_to(_field("ether", "saddr"), guest_mac),
        _ACCEPT,
    ]


def _by_protocol(ports: tuple[PortRange, ...]) -> Iterator[list[PortRange]]:
    for protocol in ("tcp", "udp"):
        if found := [each for each in ports if each.protocol == protocol]:
            yield found


def _protocol(stand_in: StandIn) -> str:
    return "ip6" if isinstance(stand_in.guest, IPv6Address) else "ip"


def _port(ports: PortRange) -> int | Object:
    return ports.first if ports.first == ports.last else {"range": [ports.first, ports.last]}


def _field(protocol: str, field: str) -> Object:
    return {"payload": {"protocol": protocol, "field": field}}


def _set(elements: Iterable[Any]) -> Object:
    return {"set": list(elements)}


def _is(left: Object, right: Any) -> Object:
    return {"match": {"op": "==", "left": left, "right": right}}


def _is_not(left: Object, right: Any) -> Object:
    return {"match": {"op": "!=", "left": left, "right": right}}


def _set_to(field: Object, value: Any) -> Object:
    return {"mangle": {"key": field, "value": value}}
