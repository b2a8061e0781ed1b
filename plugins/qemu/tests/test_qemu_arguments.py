"""QEMU's command line: golden files to read, and what a comma must not do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vmnet_qemu.arguments import Options, arguments

from vmnet import testing
from vmnet.machine import Cdrom, Disk, Kernel, Machine, Nic
from vmnet.testing import golden

GOLDEN = Path(__file__).with_name("golden")
Case = tuple[Machine, Options]
NIC = Nic("net0", "02:42:ac:11:00:02", 1500, (100,))


def demonstration() -> Case:
    kernel = Kernel(Path("/demo/vmlinuz"), Path("/demo/initrd"), "console=ttyS0 quiet")
    return testing.machine(kernel=kernel, nics=(NIC,)), Options()


def disks() -> Case:
    """A user's disk, a CD, a plugin's seed, two NICs, one with two queues."""
    devices = (
        Disk(Path("/disk.qcow2"), "qcow2"),
        Disk(Path("/with,comma.img"), "raw", ephemeral=True),
        Cdrom(Path("/run/vmnet/seed.iso")),
    )
    nics = (NIC, Nic("net1", "02:42:ac:12:00:02", 9000, (101, 102)))
    return testing.machine(devices=devices, nics=nics, accelerator="kvm", cpus=4), Options()


def options() -> Case:
    """Everything that VMNET_… can say to QEMU."""
    return testing.machine(), Options(
        machine_type="pc",
        cpu="Haswell",
        firmware=Path("/OVMF.fd"),
        vnc="unix:/run/vmnet/vnc.sock",
        extra=("-device", "usb-tablet"),
    )


@pytest.mark.parametrize("case", [demonstration, disks, options], ids=lambda one: one.__name__)
def test_golden(case: Callable[[], Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    words = arguments(*case())
    text = " ".join(words).replace(" -", "\n-") + "\n"
    assert text == golden(GOLDEN / f"{case.__name__}.argv", text)


@given(name=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_a_path_is_one_value_whatever_it_holds(name: str) -> None:
    """QEMU splits options at single commas (qemu-options, QemuOpts)."""
    disk = Disk(Path("/") / name.strip("/"), "raw")
    words = arguments(testing.machine(devices=(disk,)), Options())
    drive = words[words.index("-drive") + 1]
    fields = drive.replace(",,", "\0").split(",")
    assert [field.partition("=")[0] for field in fields] == ["if", "id", "file", "format", "cache"]
    assert fields[2].replace("\0", ",") == f"file={disk.path}"
