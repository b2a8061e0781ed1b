"""The guest has a TPM, whose state survives a restart."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, booting

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
            guest.says("resets: ")
            socket = tmp_path / "run" / "swtpm.sock"
            assert stat.S_IMODE(socket.stat().st_mode) == 0o600
            assert guest.process.wait(WAIT) == 0
            found = re.search(r"resets: ([0-9a-f]{8})\r?\n", guest.output())
            assert found, guest.output()
            resets.append(int(found[1], 16))
    assert resets[1] == resets[0] + 1
    state = tmp_path / "state" / "tpm"
    assert state.stat().st_uid != 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
