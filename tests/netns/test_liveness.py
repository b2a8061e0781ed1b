"""Whether a guest answers: a real kernel on a veth pair in place of the guest on the tap."""

from __future__ import annotations

import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT
from vmnet.net import liveness

OWN, OWN_MAC = IPv4Address("169.254.7.7"), bytes.fromhex("0600000a0b0c")


def answering(network: Lan, web: Namespace, *addresses: str, seconds: float = WAIT) -> set[str]:
    """Ask on the other end of the container's veth pair, as on a tap."""
    wanted: list[IPv4Address | IPv6Address] = [ip_address(address) for address in addresses]
    with network.host.entered():
        found = liveness.answering(web.nic().port, OWN_MAC, OWN, wanted, seconds)
    return set(map(str, found))


def test_only_the_guests_addresses_answer(network: Lan) -> None:
    web = network.container("web", ipv6=True)
    web.dump()  # waits for the end of duplicate address detection
    own6 = web.nic().address6
    assert own6 is not None
    begun = time.monotonic()
    assert answering(network, web, web.address, own6) == {web.address, own6}
    assert time.monotonic() - begun < WAIT, "it waits after all addresses have answered"
    addresses = (web.address, "172.30.1.99", "fd00::99")
    assert answering(network, web, *addresses, seconds=1) == {web.address}


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_a_guest_with_reverse_path_filtering_answers(network: Lan, rp_filter: int) -> None:
    web = network.container("web")
    web.sysctl(
        net__ipv4__conf__all__rp_filter=rp_filter, net__ipv4__conf__eth0__rp_filter=rp_filter
    )
    assert answering(network, web, web.address) == {web.address}


def test_the_request_is_no_probe(network: Lan) -> None:
    """A guest that is just taking its address would give it up (RFC 5227 section 2.1.1)."""
    request = liveness._request(OWN_MAC, OWN, IPv4Address("172.30.1.2"))
    assert request[8:18] == OWN_MAC + OWN.packed
    assert OWN.packed != bytes(4)
