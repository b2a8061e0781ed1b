"""The TPM is planned with its state, and swtpm answers before the start goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet import process, testing
from vmnet.errors import MachineError, PrivilegeError
from vmnet.model.devices import Disk, Tpm
from vmnet.planning import capabilities, tpm
from vmnet.planning.booting.boot import Boot

BOOT = Boot((Disk(Path("/disk"), "raw"),))
EPHEMERAL = Boot((Disk(Path("/disk"), "raw", ephemeral=True),))


def plan(tmp_path: Path, boot: Boot = BOOT) -> Tpm:
    environ = {
        "VMNET_TPM": "on",
        "VMNET_RUN_DIR": str(tmp_path / "run"),
        "VMNET_DISK_STATE": str(tmp_path / "state"),
    }
    (tmp_path / "run").mkdir(exist_ok=True)
    return tpm.plan(testing.settings(environ), boot)


def start(planned: Tpm, without: str = "") -> subprocess.CompletedProcess[str]:
    """Start swtpm.

    :param without: capabilities that root then lacks
    """
    assert planned.daemon is not None
    limits = ("setpriv", f"--bounding-set={without}", f"--inh-caps={without}") if without else ()
    return subprocess.run(
        (*limits, *planned.daemon.argv), capture_output=True, text=True, timeout=WAIT, check=False
    )


def test_the_state_is_in_the_state_folder_unless_the_disk_is_ephemeral(tmp_path: Path) -> None:
    for boot, folder, lasting in ((BOOT, "state", "kept"), (EPHEMERAL, "run", "new")):
        daemon = plan(tmp_path, boot).daemon
        assert daemon is not None
        state, _, kept, user = daemon.argv[-4:]
        assert (state, kept, user) == (str(tmp_path / folder / "tpm"), lasting, "own")


def test_without_swtpm_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "find", lambda name: None)
    with pytest.raises(MachineError, match="needs swtpm") as caught:
        plan(tmp_path)
    assert "apt-get install swtpm" in (caught.value.hint or "")


def test_the_state_must_be_kept(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(MachineError, match=r"can't keep the state of the TPM: .* not a folder"):
        plan(tmp_path)


def test_swtpm_answers_when_its_start_ends(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    assert planned.daemon is not None
    done = start(planned)
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(planned.daemon.pidfile.read_text())
    again = start(planned)
    assert (again.returncode, "another VM uses the TPM's state" in again.stderr) == (1, True)
    status = Path(f"/proc/{pid}/status").read_text()
    os.kill(pid, signal.SIGTERM)
    assert "\nUid:\t0" not in status
    assert "\nCapEff:\t0000000000000000" in status
    assert planned.socket.stat().st_mode & 0o777 == 0o600
    assert planned.socket.stat().st_uid == 0


LIMITED = "-chown,-dac_override,-dac_read_search,-setuid,-setgid,-kill"


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    bits = sum(1 << capabilities.NEEDED[name].number for name in names)
    monkeypatch.setattr(capabilities, "held", lambda: ~bits)


@pytest.mark.parametrize("name", ["CHOWN", "DAC_OVERRIDE", "SETUID", "SETGID", "KILL"])
def test_without_a_capability_swtpm_is_root_and_can_write_its_state(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several capabilities each alone is tested; the process lacks all of them."""
    lacking(monkeypatch, name)
    planned = plan(tmp_path)
    assert planned.daemon is not None
    assert planned.daemon.capabilities == ()
    done = start(planned, LIMITED)
    assert (done.returncode, "swtpm runs as root" in done.stderr) == (0, True)
    pid = int(planned.daemon.pidfile.read_text())
    status = Path(f"/proc/{pid}/status").read_text()
    os.kill(pid, signal.SIGTERM)
    assert "\nUid:\t0\t0" in status


@pytest.mark.parametrize("name", ["CHOWN", "DAC_OVERRIDE"])
def test_the_state_of_another_user_needs_a_capability(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier start had all capabilities. `vmnet check` refuses what a start would."""
    state = tmp_path / "state/tpm"
    state.mkdir(mode=0o700, parents=True)
    os.chown(state, 1, 1)
    lacking(monkeypatch, name)
    planned = plan(tmp_path)
    assert planned.daemon is not None
    needed = [(needed, planned.daemon.name) for needed in planned.daemon.capabilities]
    if name == "DAC_OVERRIDE":
        message = "lacks the capability DAC_OVERRIDE, which swtpm needs"
        with pytest.raises(PrivilegeError, match=message):
            capabilities.require_all(needed)
        done = start(planned, LIMITED)
        assert done.stderr.endswith("state/tpm without the capability DAC_OVERRIDE\n")
        return
    capabilities.require_all(needed)
    assert start(planned, "-chown").returncode == 0
    os.kill(int(planned.daemon.pidfile.read_text()), signal.SIGTERM)


def test_swtpm_that_ends_is_an_error(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    assert planned.daemon is not None
    *words, program, pidfile, path, state, log, lasting, user = planned.daemon.argv
    argv = (*words, "/bin/false", pidfile, path, state, log, lasting, user)
    done = start(Tpm(planned.socket, type(planned.daemon)("swtpm", argv, planned.daemon.pidfile)))
    assert program.endswith("swtpm")
    assert done.returncode == 1
    assert "swtpm does not start" in done.stderr


def test_a_new_tpm_forgets(tmp_path: Path) -> None:
    state = tmp_path / "run" / "tpm"
    planned = plan(tmp_path, EPHEMERAL)
    assert planned.daemon is not None
    state.mkdir()
    (state / "old").touch()
    assert start(planned).returncode == 0
    os.kill(int(planned.daemon.pidfile.read_text()), signal.SIGTERM)
    assert not (state / "old").exists()
