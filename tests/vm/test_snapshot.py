"""Snapshots of machines with several disks, UEFI and a TPM, and of those that can't have any."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from attrs import frozen

from tests.lab.command import run
from tests.lab.images.bootable import convert
from tests.lab.images.initrd import appended
from tests.lab.images.kernel_modules import modules
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.agent_guest import Inside, settings
from tests.vm.conftest import DemoVm
from tests.vm.test_least_privilege import STOPPED

pytestmark = pytest.mark.vm

_GUID = "6e3f6b2c-4b0f-4a57-9c41-5f0f9b6f2d11"
_PREPARE = """\
insmod /efivarfs.ko && mount -t efivarfs efivarfs /sys/firmware/efi/efivars
for disk in vda vdb; do mkdir -p /mnt/$disk && mount -t ext4 /dev/$disk /mnt/$disk; done
"""
_WRITE = """\
printf '\\007\\0\\0\\0A' >/tmp/variable
dd if=/tmp/variable of=/sys/firmware/efi/efivars/{0}-{1} bs=64 2>/dev/null
for file in /tmp/memory /mnt/vda/file /mnt/vdb/file; do echo {0} >$file; done
sync
"""


@frozen
class Tpm:
    """The guest's TPM, by bytes of TPM 2.0 Library, part 3."""

    inside: Inside

    def _run(self, command: str) -> bytes:
        """Run a command, without its header's length, and return the response's body."""
        tag, rest = command[:4], command[4:].replace(" ", "")
        size = f"{(len(tag) + len(rest)) // 2 + 4:08x}"
        octal = "".join(f"\\{byte:03o}" for byte in bytes.fromhex(tag + size + rest))
        words = f"exec 3<>/dev/tpm0; printf '{octal}' >&3; dd bs=4096 count=1 <&3 2>/dev/null"
        response = bytes.fromhex(self.inside.shell(f"({words}) | hexdump -v -e '1/1 \"%02x\"'"))
        assert response[6:10] == bytes(4), response.hex()
        return response[10:]

    def extend(self, text: str) -> None:
        """TPM2_PCR_Extend of PCR 23, which is part of the volatile state."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._run(f"8002 00000182 00000017 00000009 40000009 0000 00 0000 00000001 000b {digest}")

    def limit(self, tries: int) -> None:
        """TPM2_DictionaryAttackParameters, which are part of the permanent state."""
        times = "00000010 00000010"
        self._run(f"8002 0000013a 4000000a 00000009 40000009 0000 00 0000 {tries:08x} {times}")

    def state(self) -> tuple[str, int]:
        """Return the value of PCR 23 and the limit."""
        register = self._run("8001 0000017e 00000001 000b 03 000080")[-32:]
        limit = self._run("8001 0000017a 00000006 0000020f 00000001")[-4:]
        return register.hex(), int.from_bytes(limit, "big")


@pytest.mark.long
def test_memory_disks_firmware_and_tpm_return_together(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    base, state = tmp_path / "base.raw", tmp_path / "state"
    run("mkfs.ext4", "-q", base, "64M")
    data = convert(base, tmp_path / "data.qcow2", "qcow2")
    own = settings(machine, tmp_path)
    driver = modules(Path(own["VMNET_KERNEL"]), "efivarfs")
    initrd = Path(own["VMNET_INITRD"])
    files = {f"/{name}": path for name, path in driver.items()}
    own |= {
        "VMNET_INITRD": str(appended(initrd, files, initrd.with_name("initrd-efi"))),
        "VMNET_APPEND": own["VMNET_APPEND"] + " no_timer_check",
        "VMNET_MEMORY": "512M",
        "VMNET_DISK": str(base),
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_DISK_MODE": "overlay",
        "VMNET_DISK2": str(data),
        "VMNET_DISK_STATE": str(state),
        "VMNET_FIRMWARE": "uefi",
        "VMNET_TPM": "on",
    }
    untouched = base.read_bytes()
    web = network.container("web")
    with machine.booted(web, **own) as guest:
        inside = Inside(guest, machine)
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside.await_agent()
        tpm = Tpm(inside)
        inside.shell(_PREPARE)

        def change(name: str, tries: int) -> None:
            inside.shell(_WRITE.format(name, _GUID))
            tpm.extend(name)
            tpm.limit(tries)

        change("First", 7)
        variables = (state / "uefi-variables.fd").read_bytes()
        assert "First".encode("utf-16-le") in variables
        before = tpm.state()
        assert before[1] == 7
        assert inside("snapshot", "create", "one").returncode == 0
        change("Other", 9)
        assert "Other".encode("utf-16-le") in (state / "uefi-variables.fd").read_bytes()
        assert tpm.state()[0] != before[0]
        assert tpm.state()[1] == 9
        (listed,) = inside("snapshot", "list", "--json").json()
        assert listed["complete"]

        restored = inside("snapshot", "restore", "one")
        assert restored.returncode == 0, restored.stderr
        assert tpm.state() == before
        assert (state / "uefi-variables.fd").read_bytes() == variables
        found = "cat /tmp/memory; echo 3 >/proc/sys/vm/drop_caches; cat /mnt/*/file"
        assert inside.shell(f"{found}; ls /sys/firmware/efi/efivars | grep {_GUID}").split() == [
            *("First", "First", "First"),
            f"First-{_GUID}",
        ]
        change("Again", 11)
        assert tpm.state()[1] == 11

        assert inside("snapshot", "delete", "one").returncode == 0
        assert inside("snapshot", "list", "--json").json() == []

        # All of it also returns in a new QEMU, with a new swtpm.
        before, variables = tpm.state(), (state / "uefi-variables.fd").read_bytes()
        assert before[1] == 11
        saved = inside("stop", "--save")
        assert saved.returncode == 0, saved.stderr
        assert guest.process.wait(WAIT) == 0
    with machine.booted(web, **own) as guest:
        guest.says("the guest is resumed as it was saved")
        inside = Inside(guest, machine)
        assert Tpm(inside).state() == before
        assert (state / "uefi-variables.fd").read_bytes() == variables
        assert inside.shell(found).split() == ["Again"] * 3
        inside.shell("sync; umount /mnt/vda /mnt/vdb")
    run("qemu-img", "check", "-q", data)
    run("qemu-img", "check", "-q", next(state.glob("**/*.qcow2")))
    assert base.read_bytes() == untouched


@pytest.mark.parametrize(
    ("disk", "own", "said"),
    [
        ("{raw}", {}, "disk0 is raw, which can't contain a snapshot"),
        ("{qcow2}", {"VMNET_DISK_MODE": "ephemeral"}, "(VMNET_DISK_MODE=ephemeral)"),
        ("{qcow2},bus=nvme", {}, "this VM can't have snapshots: "),
    ],
)
def test_a_snapshot_is_refused_before_anything_happens(
    network: Lan, machine: DemoVm, tmp_path: Path, disk: str, own: dict[str, str], said: str
) -> None:
    raw = tmp_path / "disk.raw"
    run("truncate", "-s", "8M", raw)
    qcow2 = convert(raw, tmp_path / "disk.qcow2", "qcow2")
    image = disk.format(raw=raw, qcow2=qcow2)
    with machine.booted(network.container("web"), STOPPED, VMNET_DISK=image, **own) as guest:
        inside = Inside(guest, machine)
        # The command gives QEMU five seconds to answer, less than a busy machine needs to start it.
        state = lambda: inside("status", "--json").json()["qemu"]["state"]  # noqa: E731
        until(state, WAIT, "QEMU to answer", detail=guest.output)
        refused = inside("snapshot", "create", "one")
    assert refused.returncode == 22
    assert said in refused.stderr
    assert "vmnet: hint: " in refused.stderr
    assert "froze" not in refused.stderr
