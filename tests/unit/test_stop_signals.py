"""Stop signals before a start has handlers: where they are blocked and unblocked."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet.supervision.signals import STOP_SIGNALS

ROOT = Path(__file__).parents[2]
_BLOCKING = ("env", "--block-signal=HUP,INT,QUIT,TERM,PWR")
_REPORT = """
import signal, sys
from vmnet.__main__ import main
try:
    main()
except SystemExit:
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), file=sys.stderr)
"""


@pytest.mark.parametrize("file", ["Dockerfile", "bench/installed.py"])
def test_the_image_s_script_blocks_the_stop_signals(file: str) -> None:
    (names,) = re.findall(r"/usr/bin/env -S --block-signal=(\S+) ", (ROOT / file).read_text())
    assert {signal.Signals[f"SIG{name}"] for name in names.split(",")} == set(STOP_SIGNALS)


def test_the_kernel_reads_the_whole_first_line_of_the_script() -> None:
    (line,) = re.findall(r"'(#!.*)'", (ROOT / "Dockerfile").read_text())
    assert len(line) < 127, "BINPRM_BUF_SIZE is 128 before Linux 5.1"


@pytest.mark.parametrize("arguments", [("config",), ("--help",), ("no-such-command",)])
def test_other_commands_unblock_the_stop_signals(arguments: tuple[str, ...]) -> None:
    argv = (*_BLOCKING, sys.executable, "-c", _REPORT, *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_stop_signal_during_imports_stays_pending_until_the_handlers() -> None:
    """``vmnet run`` blocks them itself, for use without the image's script."""
    script = "import os, signal, sys; sys.argv = ['vmnet', 'run']; import vmnet.__main__ as vmnet; "
    script += "os.kill(os.getpid(), signal.SIGTERM); vmnet.main()"
    argv = (sys.executable, "-c", script)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert done.stderr == "vmnet: error: interrupted by SIGTERM during the start\n"
