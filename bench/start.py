"""``python -m bench.start``: how long from the entry point to QEMU, against a shell script.

Each round starts every entry point once, in turn, each in a container of its own. All must make the
same of their container; otherwise there is nothing to compare, and nothing is quoted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from bench import arena, installed, phases
from bench.arena import BenchmarkError, Entry
from tests.lab.command import CommandError


@frozen
class Result:
    """:param milliseconds: of each round, in their order"""

    name: str
    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        if options.profile:
            report = phases.measure(python, options.rounds)
            print(json.dumps(report, indent=2) if options.json else phases.table(report))
            return 0
        results = compare(_entries(python), options.rounds)
    except (BenchmarkError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(as_json(results), indent=2) if options.json else table(results))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=20, help="20 unless given")
    parser.add_argument("--json", action="store_true", help="every figure, for programs")
    parser.add_argument("--profile", action="store_true", help="tell where vmnet's time goes")
    installed.add_option(parser)
    return parser.parse_args(arguments)


def _entries(python: Path) -> tuple[Entry, ...]:
    if not installed.is_precompiled(python):
        raise BenchmarkError(f"there is no file of its imports: `{python.parent}/vmnet precompile`")
    return (
        arena.script(),
        arena.vmnet(python),
        arena.vmnet(python, "vmnet, no file", precompiled=False),
        arena.vmnet(python, "vmnet with guard", guard=True),
    )


def compare(entries: Sequence[Entry], rounds: int) -> list[Result]:
    """Time the entry points in turn; the first is what the others are compared with.

    :raises BenchmarkError: one failed, or what they make differs
    """
    milliseconds: list[list[float]] = [[] for _ in entries]
    for number in range(-1, rounds):  # round -1 fills the page cache and isn't counted
        starts = [arena.measure(entry) for entry in entries]
        for entry, start in zip(entries, starts, strict=True):
            differences = starts[0].made.differences(start.made)
            if differences:
                listed = "\n  ".join(differences)
                raise BenchmarkError(
                    f"{entries[0].name} (-) and {entry.name} (+) make different things:\n  {listed}"
                )
        if number >= 0:
            for row, start in zip(milliseconds, starts, strict=True):
                row.append(start.seconds * 1000)
    return [
        Result(entry.name, tuple(row)) for entry, row in zip(entries, milliseconds, strict=True)
    ]


def ratio(base: Result, other: Result) -> float:
    """The median of the rounds' ratios: what a slow moment does to a round, it does to both."""
    pairs = zip(base.milliseconds, other.milliseconds, strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {**asdict(one), "median": one.median, "ratio": ratio(results[0], one)} for one in results
    ]


def table(results: Sequence[Result]) -> str:
    lines = [f"{'entry to exec':<18}{'median':>10}{'quartiles':>18}{'ratio':>8}"]
    for one in results:
        low, _, high = statistics.quantiles(one.milliseconds, n=4)
        lines.append(
            f"{one.name:<18}{one.median:>7.0f} ms{low:>8.0f} to {high:>4.0f} ms"
            f"{ratio(results[0], one):>8.2f}"
        )
    lines.append(f"{len(results[0].milliseconds)} rounds; ratio: the median of the rounds' ratios")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
