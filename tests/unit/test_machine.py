"""The machine gets its NICs from the wiring, and KVM if it works."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.model.devices import Balloon, Cdrom, Channel, Disk
from vmnet.model.machine import Nic
from vmnet.model.wiring import Tap
from vmnet.planning.booting.boot import Boot
from vmnet.planning.hardware import accelerator
from vmnet.planning.machine import assemble


def test_the_machine_gets_its_nics_from_the_wiring() -> None:
    default = testing.route("0.0.0.0/0", "172.18.0.1", mtu=1400)
    identity = testing.identity(
        testing.interface("10.0.0.2/24", mtu=1450),
        testing.interface("172.18.0.2/16", name="eth1", routes=(default,)),
        hostname="db",
    )
    wiring = testing.wiring(identity)
    settings = testing.settings(
        {"VMNET_MEMORY": "2G", "VMNET_CPUS": "3", "VMNET_ACCEL": "tcg", "VMNET_RUN_DIR": "/tmp/x"}
    )
    disk, seed = Disk(Path("/disk"), "raw"), Cdrom(Path("/seed"))
    machine = assemble(settings, identity, wiring, Boot((disk,)), (seed,))
    assert (machine.name, machine.memory, machine.cpus) == ("db", 2 << 30, 3)
    assert (machine.accelerator, machine.run_dir) == ("tcg", Path("/tmp/x"))
    assert machine.nics == (
        Nic("net0", "02:42:0a:00:00:02", 1450, Tap("tap0", (100,))),
        Nic("net1", "02:42:ac:12:00:02", 1400, Tap("tap1", (101,))),
    )
    agent = Channel("org.qemu.guest_agent.0", Path("/tmp/x/agent.sock"))
    own = (agent, Balloon())
    assert machine.devices == (disk, seed, *own), "a plugin's devices follow the user's"


def test_the_machines_own_devices_can_be_left_out() -> None:
    environ = {"VMNET_AGENT": "off", "VMNET_BALLOON": "off"}
    identity, settings = testing.identity(), testing.settings(environ)
    assert assemble(settings, identity, testing.wiring(identity), Boot(), ()).devices == ()


def accelerated(requested: str) -> str:
    identity = testing.identity()
    settings = testing.settings({"VMNET_ACCEL": requested})
    return assemble(settings, identity, testing.wiring(identity), Boot(), ()).accelerator


def cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str) -> None:
    """Fake a machine with these CPU flags whose /dev/kvm opens."""
    kvm, cpuinfo = tmp_path / "kvm", tmp_path / "cpuinfo"
    kvm.touch()
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\nflags : {flags}\n")
    monkeypatch.setattr(accelerator, "_KVM", kvm)
    monkeypatch.setattr(accelerator, "_CPUINFO", cpuinfo)
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))


@pytest.mark.parametrize("flag", ["vmx", "svm"])
@pytest.mark.parametrize(("requested", "got"), [("auto", "kvm"), ("kvm", "kvm"), ("tcg", "tcg")])
def test_kvm_if_it_works(
    flag: str, requested: str, got: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu(monkeypatch, tmp_path, f"fpu {flag} sse")
    assert accelerated(requested) == got


def test_no_kvm_on_a_cpu_without_the_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu(monkeypatch, tmp_path, "fpu xsvmx sse")
    assert accelerated("auto") == "tcg"
    assert "the CPU offers neither vmx nor svm" in caplog.text
    with pytest.raises(MachineError, match="VMNET_ACCEL=kvm, but the CPU offers neither"):
        accelerated("kvm")


def test_no_kvm_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accelerator, "_KVM", tmp_path / "absent")
    assert accelerated("tcg") == "tcg"
    assert not caplog.text, "the user asked for emulation"
    assert accelerated("auto") == "tcg"
    assert "can't be opened: No such file" in caplog.text
    with pytest.raises(MachineError, match="VMNET_ACCEL=kvm, but") as caught:
        accelerated("kvm")
    assert "--device /dev/kvm" in caught.value.hint
