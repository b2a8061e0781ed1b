"""The uplinks of a running VM, compared with the kernel's devices."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from vmnet.errors import StateError
from vmnet.lifecycle.changes import uplink_record
from vmnet.lifecycle.changes.uplink_record import Uplink, UplinkRecord
from vmnet.net.device import Device, devices

ETH0 = Device(2, "eth0", True, True, True, 3, "veth")
BR0 = Device(3, "br0", True, True, True, 0, "bridge")
TAP0 = Device(4, "tap0", True, True, True, 3, "tun")
UPLINK = Uplink("eth0", 2, "br0", 3, had_carrier=True)
RECORD = UplinkRecord((UPLINK,), (1, 2, 3, 4))


def by_index(*found: Device) -> dict[int, Device]:
    return {device.index: device for device in found}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (ETH0, ""),
        (evolve(ETH0, name="eth9"), ""),
        (evolve(ETH0, is_up=False, has_carrier=False), "eth0 is down"),
        (evolve(ETH0, has_carrier=False), "eth0 has no carrier: its other end is down, or gone"),
        (evolve(ETH0, master=0), "eth0 is no longer in br0"),
        (evolve(ETH0, master=9), "eth0 is no longer in br0"),
        (evolve(ETH0, index=7), "eth0 is gone, and the VM is off its network"),
    ],
)
def test_trouble(now: Device, said: str) -> None:
    assert uplink_record.trouble(UPLINK, by_index(now, BR0, TAP0)) == said


def test_an_uplink_that_never_had_a_carrier_is_no_trouble() -> None:
    unplugged = evolve(UPLINK, had_carrier=False)
    record = evolve(RECORD, uplinks=(unplugged,))
    without = by_index(evolve(ETH0, has_carrier=False), BR0, TAP0)
    assert uplink_record.trouble(unplugged, without) == ""
    assert uplink_record.with_news(record, {2: ""}, (), without).uplinks == (unplugged,)


def test_the_loss_of_a_carrier_that_came_after_the_start() -> None:
    """Hardware has no carrier for seconds after it was set up."""
    record = evolve(RECORD, uplinks=(evolve(UPLINK, had_carrier=False),))
    (uplink,) = uplink_record.with_news(record, {2: ""}, (), by_index(ETH0, BR0, TAP0)).uplinks
    assert uplink_record.trouble(uplink, by_index(evolve(ETH0, has_carrier=False))).startswith(
        "eth0 has no carrier"
    )


@pytest.mark.parametrize(
    ("changes", "wanted", "is_new"),
    [
        ({}, None, True),
        ({"kind": ""}, None, True),
        ({"is_up": False}, None, True),
        ({"index": 4}, None, False),
        ({"kind": "bridge"}, None, False),
        ({"kind": "tun"}, None, False),
        ({"master": 8}, None, False),
        ({"is_ethernet": False}, None, False),
        ({}, ("eth0",), False),
        ({}, ("eth0", "eth1"), True),
    ],
)
def test_added_nics(changes: dict[str, Any], wanted: tuple[str, ...] | None, is_new: bool) -> None:
    eth1 = evolve(Device(7, "eth1", True, True, True, 0, "veth"), **changes)
    found = uplink_record.added_nics(RECORD, by_index(ETH0, BR0, eth1), wanted)
    assert found == ([eth1] if is_new else [])


def test_the_record(tmp_path: Path) -> None:
    assert uplink_record.load(tmp_path) is None
    uplink_record.save(tmp_path, evolve(RECORD, shut=(7,)))
    assert uplink_record.load(tmp_path) == evolve(RECORD, shut=(7,))
    uplink_record.discard(tmp_path)
    uplink_record.discard(tmp_path)
    assert uplink_record.load(tmp_path) is None
    for text in ("", "{}", "[]", '{"uplinks": [{}], "known": [], "shut": []}'):
        (tmp_path / "uplinks.json").write_text(text)
        with pytest.raises(StateError, match=r"can't read .*uplinks\.json"):
            uplink_record.load(tmp_path)


def test_devices_that_disappeared_are_forgotten() -> None:
    """A network that is connected repeatedly has another index each time."""
    record = RECORD
    for index in range(10, 1000):
        now = by_index(ETH0, BR0, TAP0, Device(index, "eth1", True, True, True, 0, "veth"))
        record = uplink_record.with_news(record, {2: ""}, (index,), now)
    assert record == UplinkRecord((UPLINK,), (2, 3, 4, 999), (999,))


def test_the_devices_are_the_kernels() -> None:
    found = devices()
    assert {(device.index, device.name) for device in found.values()} == set(socket.if_nameindex())
    lo = next(device for device in found.values() if device.name == "lo")
    assert (lo.is_ethernet, lo.master, lo.kind) == (False, 0, "")
    for device in found.values():
        flags = int(Path(f"/sys/class/net/{device.name}/flags").read_text(), 16)
        assert device.is_up == bool(flags & 1)
        assert bool(device.master) == os.path.lexists(f"/sys/class/net/{device.name}/master")
