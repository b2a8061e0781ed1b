"""A guest that makes QEMU send events as fast as possible can still be stopped.

The guest is a boot sector, which runs at once and needs no Linux.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, DemoVm, boot_sector
from vmnet.supervision.exit_port import FORCED_STATUS

pytestmark = pytest.mark.vm

# QEMU's registers for CPU hotplug on a q35 (docs/specs/acpi_cpu_hotplug): after command 2, each
# write to the data register sends an event ACPI_DEVICE_OST.
_OST = bytes.fromhex(
    "ba d8 0c"  # mov dx, 0xcd8: the selector
    "66 31 c0"  # xor eax, eax
    "66 ef"  # out dx, eax: select CPU 0, and the modern registers
    "ba dd 0c"  # mov dx, 0xcdd: the command
    "b0 02"  # mov al, 2
    "ee"  # out dx, al
    "ba e0 0c"  # mov dx, 0xce0: the data
    "66 ef"  # out dx, eax
    "eb fc"  # jmp to this out
)
# Report "a crash kernel takes over" on pvpanic's port (docs/specs/pvpanic).
_CRASH_LOADED = bytes.fromhex(
    "ba 05 05"  # mov dx, 0x505
    "b0 02"  # mov al, 2
    "ee"  # out dx, al
    "eb fd"  # jmp to this out
)


@pytest.mark.parametrize("code", [_OST, _CRASH_LOADED], ids=["ACPI_DEVICE_OST", "CRASHLOADED"])
def test_a_guest_that_floods_qemus_monitor_is_stopped_in_time(
    network: Lan, machine: DemoVm, tmp_path: Path, code: bytes
) -> None:
    settings = {**machine.environ, **boot_sector(tmp_path, code)}
    del settings["VMNET_DEMO"]
    web = network.container("web")
    with DemoVm(settings).booted(web) as guest:
        flooded = "the guest floods QEMU's control socket"
        until(lambda: flooded in guest.output(), BOOT_SECONDS, flooded, detail=guest.output)
        guest.process.signal(signal.SIGTERM)
        assert guest.process.wait(WAIT) == FORCED_STATUS
        output = guest.output()
    assert "guard: SIGTERM: pressing the guest's power button" in output
    assert "guard: the guest did not power off within 2 s: forcing QEMU to quit" in output
    assert output.count(flooded) == 1
