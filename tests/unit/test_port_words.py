"""What `vmnet plan`, `check` and `status` say of a port."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

from attrs import evolve

from vmnet import testing
from vmnet.cli import port_words
from vmnet.model.kept import Kept, StandIn
from vmnet.model.ports import PortRange
from vmnet.model.wiring import Outside, Redirect

(PORT,) = testing.wiring(testing.identity()).ports


def test_an_ordinary_port_has_nothing_further() -> None:
    assert list(port_words.further(PORT)) == []


def test_the_way_out_of_a_redirected_port() -> None:
    address = IPv4Interface("172.17.255.254/16")
    outside = Outside(device="out0", mac="06:00:00:00:00:02", address=address)
    path = Redirect("macvlan", 0, outside)
    assert list(port_words.further(evolve(PORT, path=path))) == [
        "out0 06:00:00:00:00:02 172.17.255.254/16: the container's way to the network of eth0"
    ]
    assert list(port_words.further(evolve(PORT, path=evolve(path, outside=None)))) == []
    later = evolve(outside, address=None, spares=(address,))
    (words,) = port_words.further(evolve(PORT, path=evolve(path, outside=later)))
    assert "172.17.255.254/16 or another free address" in words


def test_the_ports_that_the_container_keeps() -> None:
    stand_in = StandIn(IPv4Address("172.17.0.2"), IPv4Address("169.254.7.7"))
    kept = Kept((PortRange("tcp", 8006, 8006), PortRange("udp", 9000, 9010)), (stand_in,))
    assert list(port_words.further(evolve(PORT, kept=kept))) == [
        "the container keeps 8006/tcp, 9000-9010/udp: the guest can't serve these ports on eth0"
    ]


def test_localhost() -> None:
    served = (
        StandIn(IPv4Address("172.17.0.2"), IPv4Address("169.254.7.7")),
        StandIn(IPv6Address("fd00::2"), IPv6Address("fe80::7")),
    )
    assert list(port_words.further(evolve(PORT, localhost=served))) == [
        "127.0.0.1 and ::1 in the container: the guest, where nothing in the container listens"
    ]
