"""``python -m bench.idle``: measure memory, CPU time and wake-ups of an idle VM's helpers.

A real QEMU boots the demonstration guest, which then waits at its prompt. Wake-ups are the
voluntary context switches of proc_pid_status(5).
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
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import TimedOutError, until

_GUEST = arena.HERE.parent / "guest" / "build"
_BOOT_SECONDS = 120
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Cost:
    """The cost of a process during the measurement.

    :param pss: KiB at the end
    :param cpu: milliseconds
    """

    process: str
    pss: int
    cpu: float
    wakeups: int


@frozen
class _Counters:
    ticks: int
    switches: int


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        with idling(python.with_name("vmnet")) as (_, container, vm):
            costs = _measure(container, vm, options.seconds)
    except (BenchmarkError, CommandError, TimedOutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = {"seconds": options.seconds, "processes": list(map(asdict, costs))}
    print(json.dumps(report, indent=2) if options.json else table(costs, options.seconds))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="duration of the measurement (60)")
    parser.add_argument("--json", action="store_true", help="print JSON, in KiB and milliseconds")
    installed.add_option(parser)
    return parser.parse_args(arguments)


@contextmanager
def idling(vmnet: Path) -> Iterator[tuple[Lan, Namespace, Process]]:
    """Run a VM whose guest has its addresses and is idle."""
    with tempfile.TemporaryDirectory(prefix="vmnet-bench-") as name, lan(ipv6=True) as network:
        folder = Path(name)
        folder.chmod(0o755)  # QEMU does not run as root
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
                output = vm.output()
                return f"eth0 {own6}" in output and "vmnet-guest# " in output

            until(is_up, _BOOT_SECONDS, "the guest to be up", detail=vm.output)
            yield network, container, vm


def _measure(container: Namespace, vm: Process, seconds: int) -> list[Cost]:
    parent = Path(f"/proc/{vm.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    pids = [pid for pid in container.pids() if pid not in (vm.pid, int(parent))]
    before = {pid: _counters(pid) for pid in pids}
    time.sleep(seconds)
    costs = [_cost(pid, before[pid], _counters(pid)) for pid in pids]
    return sorted(costs, key=lambda cost: cost.process)


def _counters(pid: int) -> _Counters:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = Path(f"/proc/{pid}/status").read_text()
    switches = status.split("\nvoluntary_ctxt_switches:")[1].split()[0]
    return _Counters(int(fields[11]) + int(fields[12]), int(switches))  # utime, stime


def _cost(pid: int, before: _Counters, after: _Counters) -> Cost:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (pss,) = (line.split()[1] for line in rollup if line.startswith("Pss:"))
    return Cost(
        process=Path(f"/proc/{pid}/comm").read_text().strip(),
        pss=int(pss),
        cpu=(after.ticks - before.ticks) * 1000 / _TICKS,
        wakeups=after.switches - before.switches,
    )


def table(costs: Sequence[Cost], seconds: int) -> str:
    lines = [f"{f'next to QEMU, {seconds} s':<20}{'PSS':>11}{'CPU':>10}{'wake-ups':>10}"]
    lines += [
        f"{cost.process:<20}{cost.pss / 1024:>7.1f} MiB{cost.cpu:>7.0f} ms{cost.wakeups:>10}"
        for cost in costs
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
