"""Allocations and wirings that no network can have."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.unit import fakes
from vmnet import testing
from vmnet.errors import PluginError
from vmnet.model.identity import Host, Identity, Resolver
from vmnet.model.validation import allocation_fault, wiring_fault
from vmnet.model.wiring import Requirements, Stream, Tap, Wiring
from vmnet.testing import interface, route, samples

IDENTITY = testing.identity(interface("10.1.0.9/24", "fd00:77::2/64", gateway="10.1.0.1"))


def allocated(*addresses: str, **changes: Any) -> Identity:
    """Return the identity with other addresses, and further changes of its interface."""
    changed = {"addresses": tuple(map(ip_interface, addresses)), "routes": ()} | changes
    return evolve(IDENTITY, interfaces=(evolve(IDENTITY.interfaces[0], **changed),))


@pytest.mark.parametrize("identity", samples.PLAIN.values(), ids=samples.PLAIN)
def test_real_networks_have_no_fault(identity: Identity) -> None:
    assert allocation_fault(identity, identity) == ""
    assert wiring_fault(testing.wiring(identity), identity) == ""


@pytest.mark.parametrize(
    "identity",
    [
        allocated("10.1.0.8/31", "10.1.0.9/31"),
        allocated("10.1.0.0/32"),
        allocated("169.254.7.7/16"),
        allocated("fd00::/127"),
        allocated("10.1.0.9/24", mtu=68),
        allocated("10.1.0.9/24", routes=(route("192.0.2.0/24", mtu=9000),)),
        allocated("10.1.0.9/24", routes=(route("0.0.0.0/0", "fe80::1"),)),
    ],
)
def test_unusual_allocations(identity: Identity) -> None:
    assert allocation_fault(IDENTITY, identity) == ""


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        (allocated("127.0.0.1/8"), "eth0's address 127.0.0.1/8 is a loopback address"),
        (allocated("::1/128"), "eth0's address ::1/128 is a loopback address"),
        (allocated("224.0.0.9/4"), "eth0's address 224.0.0.9/4 is a multicast address"),
        (allocated("ff02::1/64"), "eth0's address ff02::1/64 is a multicast address"),
        (allocated("0.0.0.0/32"), "eth0's address 0.0.0.0/32 is unspecified"),
        (
            allocated("255.255.255.255/32"),
            "eth0's address 255.255.255.255/32 is the broadcast address",
        ),
        (
            allocated("10.1.0.0/24"),
            "eth0's address 10.1.0.0/24 is the address of the network itself",
        ),
        (allocated("10.1.0.255/24"), "eth0's address 10.1.0.255/24 is the broadcast address"),
        (allocated("fd00::/64"), "eth0's address fd00::/64 is the address of the network itself"),
        (
            allocated("fe80::2/64"),
            "eth0's address fe80::2/64 is link-local, which the guest makes itself",
        ),
        (
            allocated("10.1.0.9/24", "10.1.0.9/16"),
            "eth0's address 10.1.0.9/16 is an address of eth0 as well",
        ),
        (
            allocated("10.1.0.9/24", routes=(route("0.0.0.0/0", "10.1.0.9"),)),
            "the gateway 10.1.0.9 of eth0's route to 0.0.0.0/0 is an address of eth0 itself",
        ),
        (
            allocated("10.9.0.9/24", routes=(route("0.0.0.0/0", "10.1.0.1"),)),
            "the gateway 10.1.0.1 of eth0's route to 0.0.0.0/0 is outside the subnets of eth0",
        ),
        (
            allocated("fd00::2/64", routes=(route("::/0", "10.1.0.1", onlink=True),)),
            "eth0's route to ::/0 has an IPv4 gateway, 10.1.0.1",
        ),
        (
            allocated("10.1.0.9/24", routes=(route("192.0.2.0/24", metric=-1),)),
            "eth0's route to 192.0.2.0/24 has the metric -1",
        ),
        (
            allocated(
                "10.1.0.9/24", routes=(route("192.0.2.0/24", source=ip_address("10.1.0.8")),)
            ),
            "eth0's route to 192.0.2.0/24 has the source 10.1.0.8, which is no address of eth0",
        ),
        (allocated("10.1.0.9/24", mtu=67), "eth0's MTU is 67, not 68 to 65535"),
        (allocated("fd00::2/64", mtu=1279), "eth0's MTU is 1279, not 1280 to 65535"),
        (allocated("10.1.0.9/24", mtu=70000), "eth0's MTU is 70000, not 68 to 65535"),
        (allocated("10.1.0.9/24", mtu=9000), "eth0's MTU 9000 is larger than the NIC's (1500)"),
        (
            allocated("10.1.0.9/24", routes=(route("192.0.2.0/24", mtu=0),)),
            "the MTU of eth0's route to 192.0.2.0/24 is 0, not 68 to 65535",
        ),
        (
            evolve(IDENTITY, resolver=Resolver((ip_address("0.0.0.0"),))),
            "the nameserver 0.0.0.0 is unspecified",
        ),
        (
            evolve(IDENTITY, ntp=(ip_address("ff02::1"),)),
            "the time server ff02::1 is a multicast address",
        ),
        (
            evolve(IDENTITY, hosts=(Host(ip_address("::"), ("db",)),)),
            "the host :: is unspecified",
        ),
    ],
)
def test_faulty_allocations(identity: Identity, fault: str) -> None:
    assert allocation_fault(IDENTITY, identity) == fault


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(
            evolve(IDENTITY, hosts=(Host(ip_address("0.0.0.0"), ("ads.example",)),)), id="add-host"
        ),
        pytest.param(allocated("fd00::/64"), id="subnet router"),
        pytest.param(
            allocated("10.9.0.9/24", routes=(route("0.0.0.0/0", "10.1.0.1"),)), id="gateway"
        ),
    ],
)
def test_a_fault_of_the_container_is_not_the_strategys(container: Identity) -> None:
    assert allocation_fault(container, evolve(container, hostname="allocated")) == ""
    more = evolve(container, ntp=(ip_address("ff02::1"),))
    assert allocation_fault(container, more) == "the time server ff02::1 is a multicast address"


def test_an_address_on_two_nics() -> None:
    two = testing.identity(interface("10.1.0.9/24"), interface("10.2.0.9/24", name="eth1"))
    same = evolve(
        two,
        interfaces=(
            two.interfaces[0],
            evolve(two.interfaces[1], addresses=two.interfaces[0].addresses),
        ),
    )
    assert allocation_fault(two, same) == "eth1's address 10.1.0.9/24 is an address of eth0 as well"


def wired(**changes: Any) -> Wiring:
    wiring = testing.wiring(IDENTITY)
    return evolve(wiring, ports=(evolve(wiring.ports[0], **changes),))


def bridged(**changes: Any) -> Wiring:
    """Return a wiring whose bridge differs."""
    return wired(local=evolve(testing.local(testing.wiring(IDENTITY)), **changes))


@pytest.mark.parametrize(
    ("wiring", "fault"),
    [
        (Wiring(), "0 ports for 1 interfaces"),
        (
            wired(uplink="eth1"),
            "the port of eth0 (02:42:0a:01:00:09) has the uplink eth1 (02:42:0a:01:00:09)",
        ),
        (bridged(device="a bridge"), "'a bridge' cannot be the name of an interface"),
        (
            wired(backend=Tap("tap" * 6, (100,))),
            "'taptaptaptaptaptap' cannot be the name of an interface",
        ),
        (wired(backend=Tap("eth0", (100,))), "the name eth0 occurs twice"),
        (bridged(mac="06:00"), "'06:00' is no MAC of a station, such as 06:00:00:00:00:01"),
        (
            bridged(mac="01:00:5e:00:00:01"),
            "'01:00:5e:00:00:01' is no MAC of a station, such as 06:00:00:00:00:01",
        ),
        (bridged(mac="02:42:0a:01:00:09"), "the MAC 02:42:0a:01:00:09 occurs twice"),
        (wired(mtu=0), "the MTU of eth0's port is 0, not 68 to 65535"),
        (
            bridged(address=IPv4Interface("10.1.0.9/24")),
            "br0's address 10.1.0.9/24 is the guest's, on eth0",
        ),
        (
            bridged(address=IPv4Interface("10.1.0.1/24"), gateway=IPv4Address("10.1.0.1")),
            "br0's address 10.1.0.1/24 is the gateway's",
        ),
        (
            bridged(link_local=IPv4Interface("127.0.0.2/32")),
            "br0's address 127.0.0.2/32 is a loopback address",
        ),
        (
            bridged(spares=(IPv4Interface("10.1.0.255/24"),)),
            "br0's address 10.1.0.255/24 is the broadcast address",
        ),
        (wired(backend=Tap("tap0", ())), "tap0 has the descriptors (), not from 3 to 2147483647"),
        (
            wired(backend=Tap("tap0", (1,))),
            "tap0 has the descriptors (1,), not from 3 to 2147483647",
        ),
        (
            wired(backend=Tap("tap0", (1 << 40,))),
            "tap0 has the descriptors (1099511627776,), not from 3 to 2147483647",
        ),
        (wired(backend=Tap("tap0", (100, 100))), "the descriptor 100 occurs twice"),
        (
            evolve(testing.wiring(IDENTITY), nameserver=IPv4Address("10.1.0.7")),
            "the nameserver 10.1.0.7 is no address of the container's own ends",
        ),
        (
            wired(backend=Stream(Path("/run/vmnet/passt.sock"))),
            "br0 is an own end, which requires a tap",
        ),
        (
            wired(local=None),
            "the port of eth0 has a bridge, but no own end, which is the bridge",
        ),
    ],
)
def test_faulty_wirings(wiring: Wiring, fault: str) -> None:
    assert wiring_fault(wiring, IDENTITY) == fault


def test_the_plugin_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = fakes.stages(
        monkeypatch,
        vmnet_ipam_allocate=lambda identity: allocated("127.0.0.1/8"),
        vmnet_bridge_plan=lambda identity: wired(mtu=0),
    )
    with pytest.raises(PluginError) as caught:
        hooks.allocate("fake", IDENTITY)
    assert caught.value.message == (
        "plugin fake (vmnet-fake 1.0) returned a wrong value from vmnet_ipam_allocate: "
        "eth0's address 127.0.0.1/8 is a loopback address"
    )
    with pytest.raises(PluginError, match="from vmnet_bridge_plan: the MTU of eth0's port is 0"):
        hooks.plan_bridge(IDENTITY, Requirements())
