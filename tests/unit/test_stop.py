"""``vmnet stop``: the commands to QEMU in their order, and the output."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.wait import WAIT, until
from tests.unit import qmp, running
from vmnet import process
from vmnet.errors import GuestError
from vmnet.running import qmp_session, stop

VMNET = (sys.executable, "-m", "vmnet", "stop")
OFF = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}} | {
    "timestamp": {"seconds": 1, "microseconds": 1}
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "VMNET_RUN_DIR": str(tmp_path)}


def test_a_guest_that_powers_off(tmp_path: Path, environ: dict[str, str]) -> None:
    """QEMU quits after `vmnet stop`, because in a container its end kills `vmnet stop`."""
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock", events={"system_powerdown": OFF}) as qemu:
        done = run(*VMNET, "--timeout", "30", env=environ, check=False)
        until(lambda: "quit" in qemu.told, WAIT, "quit")
    assert (done.returncode, done.stdout[:28]) == (0, "the guest powered off after ")
    assert qemu.told == [
        *("qmp_capabilities", "query-status", "set-action", "system_powerdown"),
        *("qmp_capabilities", "quit"),
    ]


def test_a_guest_that_does_not_power_off_keeps_running(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock") as qemu:
        done = run(*VMNET, "--timeout", "1", env=environ, check=False)
    assert done.returncode == 22
    assert "the guest did not power off within 1 s and keeps running" in done.stderr
    assert [command for command in qemu.told if command != "system_powerdown"] == [
        *("qmp_capabilities", "query-status", "set-action", "set-action")
    ]


def test_force_writes_back_the_disks_and_quits(tmp_path: Path, environ: dict[str, str]) -> None:
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock") as qemu:
        done = run(*VMNET, "--timeout", "0", "--force", "--json", env=environ)
        until(lambda: "quit" in qemu.told, WAIT, "quit")
    assert done.json()["result"] == "forced"
    assert "system_powerdown" not in qemu.told
    assert qemu.told[-3:] == ["stop", "human-monitor-command", "quit"]


def test_qemu_quits_when_another_client_has_disconnected(tmp_path: Path) -> None:
    code = "import sys; from vmnet.running import quit_after; quit_after._SECONDS = 0.01; "
    code += "quit_after.main(*sys.argv[1:])"
    path, command = tmp_path / "qmp.sock", '{"execute": "quit"}'
    argv = (sys.executable, "-c", code, str(os.getpid()), str(path), command)
    with qmp.qemu(path) as qemu:
        with qmp_session.session(path):
            waiting = subprocess.Popen(argv)
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(1)
        assert waiting.wait(WAIT) == 0
    assert qemu.told[-1] == "quit"


def test_a_program_that_can_not_be_started_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container may have as many processes as it may have."""

    def refuse(argv: Sequence[str]) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(process, "spawn", refuse)
    with pytest.raises(GuestError, match="makes QEMU quit: Resource temporarily unavailable"):
        stop.quit_after_exit(tmp_path / "qmp.sock")


def test_no_running_vm_is_no_error(tmp_path: Path, environ: dict[str, str]) -> None:
    done = run(*VMNET, env=environ)
    assert done.stdout == "no VM runs here\n"
    assert run(*VMNET, "--json", env=environ).json() == {"result": "not-running", "seconds": 0.0}


def test_a_vm_that_does_not_run_can_t_be_saved(environ: dict[str, str]) -> None:
    done = run(*VMNET, "--save", env=environ, check=False)
    assert done.returncode == GuestError.exit_code
    assert "no VM runs here" in done.stderr


def test_progress_is_logged_in_the_format_of_the_log(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock"):
        # The first progress is due after two seconds, and may be late.
        done = run(*VMNET, "--timeout", "6", env={**environ, "VMNET_LOG": "json"}, check=False)
    first, *waiting, error = map(json.loads, done.stderr.splitlines())
    assert first["message"] == "pressing the guest's power button; it has 6 s"
    assert "waiting for the guest to power off" in waiting[0]["message"]
    assert (error["level"], "--force" in error["hint"]) == ("error", True)


def test_an_invalid_time_is_refused(environ: dict[str, str]) -> None:
    done = run(*VMNET, "--timeout", "-1", env=environ, check=False)
    assert done.returncode == 2
    assert "-1 is not a whole number from 0 to 86400" in done.stderr
