"""The filter on a real tap: the kernel decides like the unit tests' BPF interpreter."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import namespace
from tests.lab.wait import WAIT
from tests.netns.conftest import Vmnet
from tests.unit import frames
from vmnet.errors import SettingsError
from vmnet.model.wiring import Sender
from vmnet.net import rtnl, tap
from vmnet.net.filters import antispoof

Exchange = Callable[[list[bytes]], list[bytes]]
FD = 190
VIRTIO_NET_HEADER = bytes(10)
TAG = bytes.fromhex("81000005")


def exchange(sender: Sender | None) -> Iterator[Exchange]:
    """Yield a function that sends frames from a guest and returns those that leave the bridge."""
    with namespace("filter") as container, container.entered():
        container.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        tap.open_tap("tap0", FD)
        try:
            with rtnl.Rtnl() as kernel:
                assert antispoof.filter_tap(kernel, frames.port(sender=sender))
            container.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            container.ip("link", "add", "uplink", "type", "veth", "peer", "name", "outside")
            for link in ("tap0", "uplink"):
                container.ip("link", "set", link, "master", "br0", "up")
            for link in ("br0", "outside"):
                container.ip("link", "set", link, "up")
            container.await_carriers("uplink", "outside")
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as outside:
                outside.bind(("outside", 3))
                outside.settimeout(WAIT)
                yield lambda sent: _exchange(outside, sent)
        finally:
            tap.close_tap((FD,))


def _exchange(outside: socket.socket, sent: list[bytes]) -> list[bytes]:
    """Frames keep their order, so a last frame that passes ends the wait."""
    last = frames.arp(frames.OWN4, target="172.17.9.9")
    for frame in (*sent, last):
        os.write(FD, VIRTIO_NET_HEADER + frame)
    return list(iter(lambda: outside.recv(65536), last))


@pytest.fixture
def own() -> Iterator[Exchange]:
    yield from exchange(frames.OWN)


@pytest.fixture
def any_address() -> Iterator[Exchange]:
    yield from exchange(frames.ANY)


EVERYDAY = list(frames.EVERYDAY.values())
ROGUE = list(frames.ROGUE.values())
FOREIGN = [*frames.FOREIGN.values(), *frames.ROUTERS.values()]
TAGGED = [frame[:12] + TAG + frame[12:] for frame in EVERYDAY]


def test_a_guest_with_known_addresses(own: Exchange) -> None:
    assert own(EVERYDAY) == EVERYDAY
    assert own([*ROGUE, *FOREIGN, *TAGGED]) == []


def test_a_guest_with_unknown_addresses(any_address: Exchange) -> None:
    assert any_address([*EVERYDAY, *FOREIGN]) == [*EVERYDAY, *FOREIGN]
    assert any_address([*ROGUE, *TAGGED]) == []


@pytest.mark.parametrize(
    ("address", "owner"), [("172.30.1.2/24", "the guest"), ("172.30.1.1/24", "a gateway")]
)
def test_a_bridge_address_that_a_machine_has_is_refused(
    network: Lan, vmnet: Vmnet, address: str, owner: str
) -> None:
    plan = vmnet(network.container("web"), "plan", VMNET_BRIDGE_ADDRESS=address)
    assert plan.returncode == SettingsError.exit_code
    assert f"VMNET_BRIDGE_ADDRESS={address} is an address of {owner} on eth0" in plan.stderr


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, ["172.30.1.2", "172.30.1.200", "fd00:30:1::2"]),
        ({"NO_DHCP": "true"}, None),
        ({"VMNET_IPAM": "cloudinit"}, ["172.30.1.2", "172.30.1.200", "fd00:30:1::2"]),
    ],
    ids=["dnsmasq", "nodhcp", "cloudinit"],
)
def test_the_strategy_determines_the_source_addresses(
    network: Lan, vmnet: Vmnet, settings: dict[str, str], addresses: list[str] | None
) -> None:
    web = network.container("web", ipv6=True, extra=("172.30.1.200/24",))
    plan = vmnet(web, "plan", "--json", **settings)
    assert plan.returncode == 0, plan.stderr
    (port,) = plan.json()["wiring"]["ports"]
    assert port["sender"]["addresses"] == addresses
    (router,) = port["sender"]["routers"]
    assert router.startswith("fe80::")
    off = vmnet(web, "plan", "--json", VMNET_FILTER="off", **settings).json()
    assert off["wiring"]["ports"][0]["sender"] is None
