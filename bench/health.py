"""``python -m bench.health``: measure the CPU time of `vmnet health`.

This is the user and system time that a container spends every 30 seconds, in milliseconds. The
benchmark runs `vmnet health`, with a stand-in for QEMU's control socket, and an interpreter that
does nothing, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
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
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        running.machine(run_dir, nics=())
        with qmp.qemu(run_dir / "qmp.sock"):
            rounds = [
                {name: _cpu(command, run_dir) for name, command in COMMANDS.items()}
                for _ in range(options.rounds)
            ]
    medians = {name: round(statistics.median(row[name] for row in rounds)) for name in COMMANDS}
    if options.json:
        print(json.dumps(medians, indent=2))
    else:
        print("\n".join(f"{name:<18}{value:>5} ms of CPU" for name, value in medians.items()))
    return 0


def _cpu(command: tuple[str, ...], run_dir: Path) -> float:
    environ = {**os.environ, "VMNET_RUN_DIR": str(run_dir)}
    before = _children()
    subprocess.run(
        (sys.executable, "-I", *command),
        env=environ,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    return (_children() - before) * 1000


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
