"""The memory that a guest no longer uses returns to the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, Guest, booting

pytestmark = pytest.mark.vm

_HOARDER = Path(__file__).parent / "hoarder"
_MIB = 1 << 10  # in KiB, the unit of proc_pid_status(5)


def test_qemu_shrinks_when_the_guest_frees_memory(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    web, settings = network.container("web"), booting(machine, _HOARDER / "init", tmp_path)
    with machine.booted(web, **settings) as guest:
        guest.says("hoarder: freed")
        assert _memory(guest, "VmHWM") > 150 * _MIB, "the guest has used its memory"
        until(
            lambda: _memory(guest, "VmRSS") < _memory(guest, "VmHWM") - 80 * _MIB,
            WAIT,
            "the guest to return 80 of 100 MiB",
            detail=lambda: f"{_memory(guest, 'VmRSS')} of {_memory(guest, 'VmHWM')} KiB",
        )


def _memory(guest: Guest, field: str) -> int:
    status = Path(f"/proc/{guest.process.pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1])
