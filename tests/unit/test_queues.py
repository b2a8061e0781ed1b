"""The number of queues of NICs, and vhost-net."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.model.wiring import Stream, Tap
from vmnet.planning import nics
from vmnet.planning.hardware import accelerator, queues, vhost


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/vhost-net that opens, on a machine whose KVM works."""
    path = tmp_path / "vhost-net"
    path.touch()
    monkeypatch.setattr(vhost, "DEVICE", path)
    monkeypatch.setattr(accelerator, "obstacle", lambda _: "")
    return path


def counts(**environ: str) -> list[int]:
    settings = testing.settings(environ)
    return [queues.count(settings, name) for name in ("eth0", "eth1")]


@pytest.mark.usefixtures("device")
def test_as_many_queues_as_cpus_with_vhost() -> None:
    assert counts(VMNET_CPUS="2") == [2, 2]
    assert counts(VMNET_CPUS="8") == [4, 4]
    assert counts(VMNET_CPUS="8", VMNET_QUEUES="8") == [8, 8]
    assert counts(VMNET_CPUS="8", VMNET_NIC_MODEL="eth1=e1000") == [4, 1]


def test_a_single_queue_without_vhost(device: Path) -> None:
    assert counts(VMNET_CPUS="2", VMNET_VHOST="off") == [1, 1]
    assert counts(VMNET_CPUS="2", VMNET_ACCEL="tcg") == [1, 1]
    device.unlink()
    assert counts(VMNET_CPUS="2") == [1, 1]
    assert counts(VMNET_CPUS="2", VMNET_QUEUES="2") == [2, 2]


def test_more_queues_than_cpus_are_refused() -> None:
    with pytest.raises(MachineError, match="VMNET_QUEUES=3, but the guest has 2 CPUs") as caught:
        counts(VMNET_CPUS="2", VMNET_QUEUES="3")
    assert caught.value.hint == "set VMNET_QUEUES=2 or VMNET_CPUS=3"


def test_vhost_that_is_required_and_missing_is_refused(device: Path) -> None:
    device.unlink()
    with pytest.raises(MachineError, match=r"^VMNET_VHOST=on, but .*: No such file") as caught:
        vhost.is_used(testing.settings({"VMNET_VHOST": "on"}))
    assert "VMNET_VHOST=auto" in caught.value.hint


@pytest.mark.usefixtures("device")
def test_only_virtio_nics_on_taps_use_vhost() -> None:
    identity = testing.identity()
    (port,) = testing.wiring(identity).ports
    (interface,) = identity.interfaces

    def used(backend: Tap | Stream = port.backend, **environ: str) -> str:
        other = evolve(port, backend=backend)
        return nics.described(nics.nic(testing.settings(environ), "net0", interface, other))

    assert used() == "virtio, vhost"
    assert used(VMNET_NIC_MODEL="e1000") == "e1000"
    assert used(Stream(Path("/socket"))) == "virtio"
