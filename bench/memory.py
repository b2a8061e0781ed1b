"""``python -m bench.memory``: measure the memory of the processes that run next to QEMU.

The budget is in PSS (proportional set size, proc_pid_smaps(5)), which divides each shared page by
its users. RSS counts shared pages in full: it is the upper limit, if no other process uses them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict, evolve, frozen

from bench import arena, installed
from bench.arena import BenchmarkError, Start
from tests.lab.command import CommandError
from tests.lab.wait import until

BUDGET_KIB = 16 * 1024


@frozen
class Usage:
    """A process and its memory, in KiB."""

    process: str
    pss: int
    rss: int


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        entry = arena.vmnet(python, guard=True)
        if options.names:
            entry = evolve(entry, nameserver="127.0.0.11")
        with arena.started(entry, arena.QEMU, ipv6=options.ipv6) as start:
            usages = _settled(start)
    except (BenchmarkError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    total = sum(usage.pss for usage in usages)
    if options.json:
        print(json.dumps({"budget": BUDGET_KIB, "processes": list(map(asdict, usages))}, indent=2))
    else:
        print(table(usages))
    return 0 if total <= BUDGET_KIB else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--ipv6", action="store_true", help="give the container IPv6, too")
    parser.add_argument(
        "--names",
        action="store_true",
        help="set its nameserver to loopback, as on a Docker network",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in KiB")
    installed.add_option(parser)
    return parser.parse_args(arguments)


def _settled(start: Start) -> list[Usage]:
    """Return the usages when three samples in a row are equal."""
    samples: list[list[Usage]] = []

    def settled() -> list[Usage] | None:
        samples.append(_helpers(start))
        return samples[-1] if samples[-3:] == [samples[-1]] * 3 else None

    return until(settled, 20, "the processes to settle", interval=0.5)


def _helpers(start: Start) -> list[Usage]:
    """Return the usages of the container's processes except PID 1."""
    found = (_usage(pid) for pid in start.container.pids() if pid not in _excluded(start))
    return sorted(filter(None, found), key=lambda usage: -usage.pss)


def _excluded(start: Start) -> tuple[int, ...]:
    """Return PID 1, which is QEMU, and the test lab's program that waits for it."""
    parent = Path(f"/proc/{start.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    return start.process.pid, int(parent)


def _usage(pid: int) -> Usage | None:
    """Return a process's usage; None for a zombie, which has no memory."""
    alive = Path(f"/proc/{pid}/cmdline").read_bytes()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text() if alive else ""
    lines = (line.split() for line in rollup.splitlines())
    sizes = {line[0]: int(line[1]) for line in lines if line[-1] == "kB"}
    if not sizes:
        return None
    return Usage(Path(f"/proc/{pid}/comm").read_text().strip(), sizes["Pss:"], sizes["Rss:"])


def table(usages: Sequence[Usage]) -> str:
    lines = [f"{'next to QEMU':<18}{'PSS':>11}{'RSS':>11}"]
    total = Usage("total", sum(usage.pss for usage in usages), sum(usage.rss for usage in usages))
    lines += [
        f"{usage.process:<18}{usage.pss / 1024:>7.1f} MiB{usage.rss / 1024:>7.1f} MiB"
        for usage in (*usages, total)
    ]
    verdict = "within" if total.pss <= BUDGET_KIB else "OVER"
    lines.append(f"{verdict} the budget of {BUDGET_KIB / 1024:.0f} MiB (PSS)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
