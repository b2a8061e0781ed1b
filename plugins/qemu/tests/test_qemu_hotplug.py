"""The ports for NICs that come while QEMU runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vmnet_qemu import hotplug, inherited
from vmnet_qemu.hotplug import ports

from vmnet.api import Command, Nic, NicChange, Tap, qmp_session


def test_the_ports_share_a_slot_and_have_numbers_of_their_own() -> None:
    assert list(ports(2, "q35")) == [
        *("-device", "pcie-root-port,id=port0,chassis=1,multifunction=on,addr=0x19.0"),
        *("-device", "pcie-root-port,id=port1,chassis=2,multifunction=on,addr=0x19.1"),
    ]


@pytest.mark.parametrize(("machine", "count"), [("virt", 2), ("pc", 0), ("pc-i440fx-7.2", 0)])
def test_only_machines_with_pci_express_have_ports(machine: str, count: int) -> None:
    assert list(ports(2, machine)).count("-device") == count


class Recorder:
    """Stands in for a QMP session, and records its commands."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.passed: list[str] = []

    def ask(self, command: str, arguments: dict[str, Any], fds: tuple[int, ...] = ()) -> object:
        self.asked.append((command, arguments))
        self.passed += [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in fds]
        return []


@contextmanager
def recorded(recorder: Recorder, _path: Path) -> Iterator[Recorder]:
    yield recorder


def test_a_further_nic_has_vhost_for_each_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU gets an open device for each queue, because it could not open it."""
    device, tap, qemu = tmp_path / "vhost-net", tmp_path / "tap", Recorder()
    device.touch()
    monkeypatch.setattr(inherited, "VHOST", device)
    monkeypatch.setattr(qmp_session, "session", partial(recorded, qemu))
    with tap.open("w") as first, tap.open("w") as second:
        backend = Tap("tap1", (first.fileno(), second.fileno()))
        nic = Nic("hotplug0", "02:42:ac:12:00:02", 1500, backend, vhost=True)
        hotplug.change(Command(("/qemu",), qmp=tmp_path), NicChange("plug", nic, 0))
    assert qemu.passed == [str(tap), str(tap), str(device), str(device)]
    added = {command: arguments for command, arguments in qemu.asked if command != "getfd"}
    assert added["netdev_add"] == {
        "id": "hotplug0",
        "type": "tap",
        "fds": "hotplug0-0:hotplug0-1",
        "vhostfds": "hotplug0-vhost-0:hotplug0-vhost-1",
    }
    assert (added["device_add"]["mq"], added["device_add"]["bus"]) == (True, "port0")


def test_a_busy_guest_has_time_to_release_a_nic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]

    class Busy(Recorder):
        def ask(self, command: str, *given: Any, **named: Any) -> object:
            if command == "qom-list" and passed[0] < 9:
                return [{"name": "hotplug0-nic"}, {"name": "hotplug0"}]
            return super().ask(command, *given, **named)

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    qemu = Busy()
    monkeypatch.setattr(qmp_session, "session", partial(recorded, qemu))
    monkeypatch.setattr(hotplug, "time", SimpleNamespace(monotonic=lambda: passed[0], sleep=sleep))
    nic = Nic("hotplug0", "02:42:ac:12:00:02", 1500, Tap("tap1", (3,)))
    hotplug.change(Command(("/qemu",), qmp=tmp_path), NicChange("unplug", nic, 0))
    removed = [command for command, _ in qemu.asked if command.endswith("_del")]
    assert removed == ["device_del", "netdev_del"]
