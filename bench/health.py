"""``python -m bench.health``: measure the CPU time of `vmnet health`, and how long it takes.

This is the user and system time that a container spends every 30 seconds, in milliseconds. The
benchmark runs `vmnet health`, with a stand-in for QEMU's control socket, and an interpreter that
does nothing, in turn. It also measures how long `vmnet health` takes if QEMU never answers, which
is its longest time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.unit import qmp, running

COMMANDS = {
    "vmnet health": ("-m", "vmnet", "health"),
    "python": ("-c", "pass"),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.health", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="number of rounds (15)")
    parser.add_argument("--json", action="store_true", help="print JSON, in milliseconds")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as silent,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        for run_dir in (Path(folder), Path(silent)):
            running.machine(run_dir, nics=())
        listener.bind(f"{silent}/qmp.sock")
        listener.listen()
        with qmp.qemu(Path(folder) / "qmp.sock"):
            rounds = [
                {name: _cpu(command, Path(folder)) for name, command in COMMANDS.items()}
                for _ in range(options.rounds)
            ]
        times = [_seconds(COMMANDS["vmnet health"], Path(silent)) for _ in range(options.rounds)]
    medians = {name: round(statistics.median(row[name] for row in rounds)) for name in COMMANDS}
    longest = {"median": round(statistics.median(times)), "maximum": round(max(times))}
    if options.json:
        print(json.dumps({**medians, "no answer": longest}, indent=2))
    else:
        print("\n".join(f"{name:<18}{value:>5} ms of CPU" for name, value in medians.items()))
        for name, value in longest.items():
            print(f"no answer, {name:<7}{value:>5} ms")
    return 0


def _seconds(command: tuple[str, ...], run_dir: Path) -> float:
    """Return the milliseconds that a command takes."""
    before = time.monotonic()
    _run(command, run_dir)
    return (time.monotonic() - before) * 1000


def _cpu(command: tuple[str, ...], run_dir: Path) -> float:
    before = _children()
    _run(command, run_dir)
    return (_children() - before) * 1000


def _run(command: tuple[str, ...], run_dir: Path) -> None:
    environ = {**os.environ, "VMNET_RUN_DIR": str(run_dir)}
    subprocess.run(
        (sys.executable, "-I", *command),
        env=environ,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=False,  # without an answer, the VM is unhealthy
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
