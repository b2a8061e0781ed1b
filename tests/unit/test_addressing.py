"""The wiring's own addresses are derived from the MAC and differ from the identity's addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from attrs import evolve
from hypothesis import given

from tests.unit import strategies
from vmnet import testing
from vmnet.model.identity import Host, Identity, Interface
from vmnet.strategies.ports.addressing import (
    link_local,
    neutral_link_local,
    neutral_mac,
    new_mac,
    spare_candidates,
)

LINK_LOCAL = IPv4Network("169.254.0.0/16")
MAC = "02:42:ac:11:00:02"


def mentioned(identity: Identity) -> set[object]:
    """Return every address in an identity."""
    nics = identity.interfaces
    routes = [route for nic in nics for route in nic.routes]
    return {
        *identity.resolver.nameservers,
        *(host.address for host in identity.hosts),
        *(address.ip for nic in nics for address in nic.addresses),
        *(route.gateway for route in routes),
    }


def checksum(words: bytes) -> int:
    """Return what RFC 1071 computes."""
    return sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2)) % 0xFFFF


@given(strategies.macs, strategies.ipv6)
def test_replacements_that_change_no_checksum(mac: str, address: IPv6Address) -> None:
    own, packed = neutral_mac(mac, "bridge"), bytes.fromhex(mac.replace(":", ""))
    assert own.startswith("06:")
    assert checksum(bytes.fromhex(own.replace(":", ""))) == checksum(packed)
    stand_in = neutral_link_local(address, mac, "kept ports 0")
    assert stand_in in IPv6Network("fe80::/64")
    assert checksum(stand_in.packed) == checksum(address.packed)


@given(strategies.macs)
def test_a_new_mac_is_locally_administered_and_unique(mac: str) -> None:
    uplink, bridge = new_mac(mac, "uplink"), new_mac(mac, "bridge")
    assert len({mac, uplink, bridge}) == 3
    for made in (uplink, bridge):
        first = bytes.fromhex(made.replace(":", ""))[0]
        assert len(made) == 17
        assert first & 0b11 == 0b10, "locally administered, unicast"
        assert not made.startswith("02:42:"), "Docker's range"


def test_the_same_container_gets_the_same_addresses() -> None:
    identity = testing.identity()
    assert new_mac(MAC, "bridge") == new_mac(MAC, "bridge") == "06:a3:73:1d:a5:fb"
    assert link_local(MAC, identity) == link_local(MAC, identity)
    assert link_local(MAC, identity) != link_local("02:42:ac:11:00:03", identity)


@given(strategies.macs, strategies.identities)
def test_a_link_local_address_is_an_unused_host_address(mac: str, identity: Identity) -> None:
    address = link_local(mac, identity)
    assert address.network.prefixlen == 32
    assert address.ip in LINK_LOCAL
    assert 1 <= address.ip.packed[2] <= 254, "RFC 3927 section 2.1 reserves the first and last 256"
    assert str(address.ip) not in ("169.254.1.1", "169.254.169.254")
    assert address.ip not in mentioned(identity)


def test_a_subnet_that_is_not_on_the_link_has_no_spare_address() -> None:
    nic = testing.interface("10.247.0.2/24", off_link=(IPv4Network("10.247.0.0/24"),))
    assert spare_candidates(nic, testing.identity(nic)) == ()
    assert spare_candidates(evolve(nic, off_link=()), testing.identity(nic))


def test_a_link_local_address_is_none_that_the_identity_mentions() -> None:
    identity = testing.identity()
    first = link_local(MAC, identity).ip
    crowded = evolve(identity, hosts=(Host(first, ("metadata",)),))
    second = link_local(MAC, crowded).ip
    assert second != first
    assert link_local(
        MAC, evolve(crowded, ntp=(), hosts=(*crowded.hosts, Host(second, ("x",))))
    ).ip not in (first, second)


@given(strategies.interfaces, strategies.identities)
def test_spare_addresses_are_unused_and_in_the_subnet(nic: Interface, identity: Identity) -> None:
    identity = evolve(identity, interfaces=(nic, *identity.interfaces))
    spare = spare_candidates(nic, identity)
    assert len(set(spare)) == len(spare) <= 64
    taken = mentioned(identity)
    for address in spare:
        network = address.network
        assert network == nic.ipv4[0].network
        assert address.ip not in taken
        assert address.ip not in (network.network_address, network.broadcast_address)


def test_spare_addresses_come_from_the_top_of_the_subnet() -> None:
    nic = testing.interface("172.17.0.2/16", gateway="172.17.255.254")
    spare = spare_candidates(nic, testing.identity(nic))
    top = IPv4Address("172.17.255.253")
    assert sorted((address.ip for address in spare), reverse=True) == [top - n for n in range(64)]
    assert min(spare[:16]) > max(spare[16:])


def test_machines_try_different_addresses_first() -> None:
    """If two machines that start together probe for the same address, neither gets it."""
    nics = [testing.interface(f"172.17.0.{number}/16") for number in range(2, 42)]
    first = {spare_candidates(nic, testing.identity(nic))[0] for nic in nics}
    assert len(first) > 8


@pytest.mark.parametrize("prefix", [31, 32])
def test_a_point_to_point_link_has_no_spare_address(prefix: int) -> None:
    nic = testing.interface(f"10.0.0.2/{prefix}")
    assert spare_candidates(nic, testing.identity(nic)) == ()


def test_a_full_subnet_has_no_spare_address() -> None:
    nic = testing.interface("10.0.0.2/30", gateway="10.0.0.1")
    assert spare_candidates(nic, testing.identity(nic)) == ()


def test_a_nic_without_ipv4_has_no_spare_address() -> None:
    nic = testing.interface("2001:db8::2/64")
    assert spare_candidates(nic, testing.identity(nic)) == ()


@pytest.mark.parametrize("where", ["ntp", "source"])
def test_time_servers_and_source_addresses_of_routes_are_not_spare(where: str) -> None:
    nic = testing.interface("10.0.0.2/29")
    server = ip_address("10.0.0.6")
    if where == "ntp":
        identity = testing.identity(nic, ntp=(server,))
    else:
        identity = testing.identity(
            evolve(nic, routes=(testing.route("192.0.2.0/24", "10.0.0.1", source=server),))
        )
    spare = spare_candidates(identity.interfaces[0], identity)
    assert server not in {address.ip for address in spare}
