"""Guests see further disks: their buses, boot order and serial numbers, and which is read-only."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.services import file_server
from tests.lab.wait import WAIT
from tests.vm.conftest import VMNET, DemoVm, booting
from tests.vm.test_least_privilege import await_locks
from vmnet.errors import MachineError

pytestmark = [pytest.mark.vm, pytest.mark.long]

_INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
while read -r module; do
    insmod "/lib/modules/$module"
done </lib/modules/order
for disk in vda vdb vdc; do
    cd "/sys/block/$disk"
    echo "$disk: $(cat size) $(cat serial) $(cat ro)"
    echo written 2>/dev/null >/dev/$disk
done
echo "disks: done"
poweroff -f
"""


def _exiting(path: Path, status: int) -> Path:
    """Make a disk whose boot code ends QEMU with a status of 2 * ``status`` + 1."""
    code = bytes((0xB0, status, 0xE6, 0xF4))  # mov al, status; out 0xf4, al
    path.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return path


@pytest.mark.parametrize("bus", ["virtio", "scsi", "sata", "nvme", "ide"])
def test_the_firmware_boots_from_the_chosen_disk(
    network: Lan, machine: DemoVm, tmp_path: Path, bus: str
) -> None:
    first, second = _exiting(tmp_path / "first", 3), _exiting(tmp_path / "second", 5)
    can_be_read_only = bus not in ("sata", "ide")
    settings = {
        "VMNET_DISK": f"{first},bus={bus}",
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_DISK2": f"{second},bus={bus},format=raw,readonly={can_be_read_only}",
        "VMNET_MEMORY": "64M",
        **({"VMNET_MACHINE": "pc"} if bus == "ide" else {}),
    }
    container = network.container("web")
    with machine.booted(container, **settings) as guest:
        assert guest.process.wait(WAIT) == 7, "VMNET_DISK comes first"
    settings["VMNET_DISK2"] += ",boot=1"
    with machine.booted(container, **settings) as guest:
        assert guest.process.wait(WAIT) == 11


def test_a_vm_boots_from_a_url_and_keeps_what_it_downloaded(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    image = _exiting(site / "disk.img", 5)
    station, container = network.station(), network.container("web")
    settings = {
        "VMNET_DISK": f"http://{station.address}/disk.img",
        "VMNET_DISK_SHA256": hashlib.sha256(image.read_bytes()).hexdigest(),
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_DISK_STATE": str(tmp_path / "state"),
        "VMNET_MEMORY": "64M",
    }
    with file_server(station, site), machine.booted(container, **settings) as guest:
        assert guest.process.wait(WAIT) == 11
        assert "downloading http://" in guest.output()
    with machine.booted(container, **settings) as guest:
        assert guest.process.wait(WAIT) == 11, "the server is gone"


def test_a_second_vm_is_told_which_vm_uses_the_disk(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    """It has its own container, and so sees no process of the first."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))  # jmp $
    settings = {"VMNET_DISK": str(disk), "VMNET_MEMORY": "64M", "VMNET_STOP_TIMEOUT": "1"}
    other = {**machine.environ, **settings, "VMNET_RUN_DIR": str(tmp_path / "other")}
    with machine.booted(network.container("db"), **settings) as guest:
        await_locks(guest)
        second = network.container("copy").run(
            *VMNET, "run", env=other, pid=True, check=False, timeout=WAIT
        )
    assert second.returncode == MachineError.exit_code
    message = f"VMNET_DISK={disk} is in use by another VM: db, which was last started with it"
    assert message in second.stderr


def test_a_guest_sees_sizes_serial_numbers_and_which_disk_is_read_only(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    init = tmp_path / "init"
    init.write_text(_INIT)
    init.chmod(0o755)
    disks = [tmp_path / name for name in ("first", "with,comma", "third")]
    for number, disk in enumerate(disks, 1):
        disk.write_bytes(bytes(number << 20))
    settings = {
        **booting(machine, init, tmp_path),
        "VMNET_DISK": f"{disks[0]},iothread=on",
        "VMNET_DISK2": f"{tmp_path}/with,,comma,serial=data-1,cache=none",
        "VMNET_DISK3": f"{disks[2]},serial=archive,readonly=on,aio=io_uring",
    }
    with machine.booted(network.container("web"), **settings) as guest:
        output = guest.says("disks: done").replace("\r", "")
        assert guest.process.wait(WAIT) == 0
    assert "vda: 2048  0\n" in output
    assert "vdb: 4096 data-1 0\n" in output
    assert "vdc: 6144 archive 1\n" in output
    assert [disk.read_bytes()[:7] for disk in disks] == [b"written", b"written", bytes(7)]
