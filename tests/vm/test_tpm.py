"""The guest has a TPM, whose state survives a restart."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, booting
from tests.vm.test_least_privilege import NOTHING, STOPPED, capabilities, statuses

pytestmark = pytest.mark.vm

_INIT = Path(__file__).parent / "tpm" / "init"


def test_the_state_of_the_tpm_is_kept(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    container = network.container("web")
    settings = booting(machine, _INIT, tmp_path) | {
        "VMNET_TPM": "on",
        "VMNET_DISK_STATE": str(tmp_path / "state"),
    }
    resets = []
    for _ in range(2):
        with machine.booted(container, **settings) as guest:
            # Before the guest powers off, because swtpm then ends and may be started again.
            control = tmp_path / "run" / "swtpm.sock"
            assert stat.S_IMODE(control.stat().st_mode) == 0o600
            guest.says("resets: ")
            assert guest.process.wait(WAIT) == 0
            found = re.search(r"resets: ([0-9a-f]{8})\r?\n", guest.output())
            assert found, guest.output()
            resets.append(int(found[1], 16))
    assert resets[1] == resets[0] + 1
    state = tmp_path / "state" / "tpm"
    assert state.stat().st_uid != 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_swtpm_has_no_privileges_and_is_kept_alive(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    container = network.container("web")
    settings = {"VMNET_TPM": "on", "VMNET_DISK_STATE": str(tmp_path / "state")}
    with machine.booted(container, STOPPED, **settings) as guest:
        _await_main_loop(tmp_path / "run" / "qmp.sock")
        first = statuses(container)["swtpm"]
        os.kill(int(first["Pid"]), signal.SIGKILL)

        def replaced() -> dict[str, str] | None:
            found = statuses(container).get("swtpm")
            return found if found and found["Pid"] != first["Pid"] else None

        second = until(replaced, WAIT, "another swtpm", detail=guest.output)
    for swtpm in (first, second):
        assert {**capabilities(swtpm), "CapBnd": 0} == NOTHING
        assert "0" not in swtpm["Uid"].split()
        assert swtpm["NoNewPrivs"] == "1"


def _await_main_loop(path: Path) -> None:
    """Await QEMU's answer, which it gives when it has reset the devices."""
    with socket.socket(socket.AF_UNIX) as qmp, qmp.makefile("rwb") as file:
        qmp.settimeout(WAIT)
        qmp.connect(str(path))
        file.readline()
        file.write(b'{"execute": "qmp_capabilities"}\n')
        file.flush()
        assert b"return" in file.readline()
