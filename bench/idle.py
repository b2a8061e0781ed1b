"""``python -m bench.idle``: what a VM that does nothing costs beside QEMU: memory, CPU, wake-ups.

A real QEMU boots the demonstration guest, which then waits at its prompt. A wake-up is a process
that goes to sleep once more: the voluntary context switches of proc_pid_status(5).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import asdict, frozen

from bench import arena, installed
from bench.arena import BenchmarkError
from tests.lab.command import CommandError, Process, run
from tests.lab.namespace import Namespace
from tests.lab.netns import lan
from tests.lab.wait import TimedOutError, until

_GUEST = arena.HERE.parent / "guest" / "build"
_BOOT_SECONDS = 120
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Cost:
    """A process over a while.

    :param pss: in KiB, at the end
    :param cpu: in milliseconds
    """

    process: str
    pss: int
    cpu: float
    wakeups: int


@frozen
class _Look:
    ticks: int
    switches: int


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        with _idling(python.with_name("vmnet")) as (container, vm):
            costs = _over(container, vm, options.seconds)
    except (BenchmarkError, CommandError, TimedOutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = {"seconds": options.seconds, "processes": list(map(asdict, costs))}
    print(json.dumps(report, indent=2) if options.json else table(costs, options.seconds))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long to look; 60 unless given")
    parser.add_argument("--json", action="store_true", help="for programs; in KiB and milliseconds")
    installed.add_option(parser)
    return parser.parse_args(arguments)


@contextmanager
def _idling(vmnet: Path) -> Iterator[tuple[Namespace, Process]]:
    """A VM whose guest has its addresses and nothing to do."""
    with tempfile.TemporaryDirectory(prefix="vmnet-bench-") as name, lan(ipv6=True) as network:
        folder = Path(name)
        folder.chmod(0o755)  # QEMU is not root
        demo = Path(os.environ.get("VMNET_DEMO") or folder / "demo")
        run(_GUEST, demo, timeout=600)
        container = network.container("vm", ipv6=True)
        environ = {
            "PATH": os.environ["PATH"],
            "VMNET_DEMO": str(demo),
            "VMNET_RUN_DIR": str(folder / "run"),
        }
        own6 = container.nic().address6
        with container.popen(vmnet, "run", env=environ, pid=True) as vm:

            def is_up() -> bool:
                vm.require_running()
                said = vm.output()
                return f"eth0 {own6}" in said and "vmnet-guest# " in said

            until(is_up, _BOOT_SECONDS, "the guest to be up", detail=vm.output)
            yield container, vm


def _over(container: Namespace, vm: Process, seconds: int) -> list[Cost]:
    parent = Path(f"/proc/{vm.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    pids = [pid for pid in container.pids() if pid not in (vm.pid, int(parent))]
    before = {pid: _look(pid) for pid in pids}
    time.sleep(seconds)
    costs = [_cost(pid, before[pid], _look(pid)) for pid in pids]
    return sorted(costs, key=lambda one: one.process)


def _look(pid: int) -> _Look:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = Path(f"/proc/{pid}/status").read_text()
    switches = status.split("\nvoluntary_ctxt_switches:")[1].split()[0]
    return _Look(int(fields[11]) + int(fields[12]), int(switches))  # utime, stime


def _cost(pid: int, before: _Look, after: _Look) -> Cost:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (pss,) = (line.split()[1] for line in rollup if line.startswith("Pss:"))
    return Cost(
        process=Path(f"/proc/{pid}/comm").read_text().strip(),
        pss=int(pss),
        cpu=(after.ticks - before.ticks) * 1000 / _TICKS,
        wakeups=after.switches - before.switches,
    )


def table(costs: Sequence[Cost], seconds: int) -> str:
    lines = [f"{f'beside QEMU, {seconds} s':<20}{'PSS':>11}{'CPU':>10}{'wake-ups':>10}"]
    lines += [
        f"{one.process:<20}{one.pss / 1024:>7.1f} MiB{one.cpu:>7.0f} ms{one.wakeups:>10}"
        for one in costs
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
