"""A stop signal at the very beginning of a start ends it, and no guest boots."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.lab.net.lan import Lan
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
_PYTHON = "/opt/vmnet/bin/python"
# Python and not sh, because dash would unblock the signals.
_SLOW = """\
#!{python} -IS
import os, sys, time
while not os.path.exists({go!r}):
    time.sleep(0.01)
os.execv({python!r}, ({python!r}, *sys.argv[1:]))
"""


def test_a_stop_signal_before_python_runs_ends_the_start(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    """PID 1 has no handler yet, so the kernel would drop a signal that is not blocked."""
    web = network.container("web")
    before = web.dump()
    python, go, script = tmp_path / "python", tmp_path / "go", tmp_path / "vmnet"
    python.write_text(_SLOW.format(python=sys.executable, go=str(go)))
    script.write_text(f"{_shebang(python)}\nfrom vmnet.__main__ import main\nmain()\n")
    for file in (python, script):
        file.chmod(0o755)
    with web.popen(script, "run", env=vmnet.environ, pid=True) as process:
        until(lambda: _blocks(process.pid, signal.SIGTERM), WAIT, "SIGTERM to be blocked")
        process.signal(signal.SIGTERM)
        go.touch()
        assert process.wait() == 128 + signal.SIGTERM, process.output()
        assert "interrupted by SIGTERM" in process.output()
    require_same(before, web.dump())


def _shebang(python: Path) -> str:
    """Return the first line of the image's script, with another interpreter."""
    (line,) = (line for line in DOCKERFILE.read_text().splitlines() if "'#!" in line)
    shebang = line.split("'")[1]
    assert _PYTHON in shebang
    return shebang.replace(_PYTHON, str(python))


def _blocks(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigBlk:")[1].split()[0], 16) >> (number - 1) & 1)
