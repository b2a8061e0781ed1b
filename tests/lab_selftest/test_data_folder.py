"""An engine's data goes with the run, or with the next one if the run is killed."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.lab.command import background, run
from tests.lab.engines.data_folder import data_folder


def test_the_next_run_removes_what_a_killed_run_left() -> None:
    with background("true") as ended:
        ended.wait()
    left = Path(f"/var/tmp/vmnet-engine-{ended.pid}-left")
    (left / "mount").mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", left / "mount")
    log = left / "mount" / "log"
    log.touch()
    with background("tail", "-f", log) as program, data_folder() as folder:
        assert not left.exists()
        assert program.wait() == -signal.SIGKILL
        assert folder.is_dir()
    assert not folder.exists()
    assert str(left) not in Path("/proc/mounts").read_text()
