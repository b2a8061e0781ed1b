"""``python -m bench.start``: time the entry point until it becomes QEMU, against a shell script.

Each round starts every entry point once, in turn, each in a new container. If the entry points
leave different states, the benchmark fails without figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

from bench import arena, installed, phases
from bench.arena import BenchmarkError, Entry
from tests.lab.command import CommandError


@frozen
class Result:
    """The results of an entry point.

    :param milliseconds: one for each round
    """

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
        if options.networks:
            results = compare(_networks(python), options.rounds, same_state=False)
        else:
            results = compare(_entries(python), options.rounds)
    except (BenchmarkError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(as_json(results), indent=2) if options.json else table(results))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=20, help="number of rounds (20)")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    parser.add_argument("--profile", action="store_true", help="show where vmnet spends its time")
    parser.add_argument(
        "--networks",
        action="store_true",
        help="compare Docker's default bridge with a network of one's own",
    )
    installed.add_option(parser)
    return parser.parse_args(arguments)


def _entries(python: Path) -> tuple[Entry, ...]:
    if not installed.is_precompiled(python):
        raise BenchmarkError(f"imports are not precompiled: run `{python.parent}/vmnet precompile`")
    return (
        arena.script(),
        arena.vmnet(python),
        arena.vmnet(python, "vmnet, no file", precompiled=False),
        arena.vmnet(python, "vmnet with guard", guard=True),
    )


def _networks(python: Path) -> tuple[Entry, ...]:
    """Return vmnet on both kinds of network: on the second, the resolver is on loopback."""
    default = arena.vmnet(python, "default bridge", guard=True)
    own = evolve(default, name="own network", nameserver="127.0.0.11")
    redirected = {**own.environ, "VMNET_BRIDGE": "redirect"}
    return default, own, evolve(own, name="the same, redirect", environ=redirected)


def compare(entries: Sequence[Entry], rounds: int, *, same_state: bool = True) -> list[Result]:
    """Time the entry points in turn, and compare their states with that of the first.

    :param same_state: whether the states must be the same
    :raises BenchmarkError: an entry point failed, or the states differ
    """
    milliseconds: list[list[float]] = [[] for _ in entries]
    for number in range(-1, rounds):  # round -1 fills the page cache and is not counted
        starts = [arena.measure(entry) for entry in entries]
        for entry, start in zip(entries, starts, strict=True):
            differences = starts[0].state.differences(start.state)
            if differences and same_state:
                listed = "\n  ".join(differences)
                raise BenchmarkError(
                    f"{entries[0].name} (-) and {entry.name} (+) differ in state:\n  {listed}"
                )
        if number >= 0:
            for row, start in zip(milliseconds, starts, strict=True):
                row.append(start.seconds * 1000)
    return [
        Result(entry.name, tuple(row)) for entry, row in zip(entries, milliseconds, strict=True)
    ]


def ratio(base: Result, other: Result) -> float:
    """Return the median of the rounds' ratios. A slow moment affects both figures of a round."""
    pairs = zip(base.milliseconds, other.milliseconds, strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {**asdict(result), "median": result.median, "ratio": ratio(results[0], result)}
        for result in results
    ]


def table(results: Sequence[Result]) -> str:
    lines = [f"{'entry to exec':<18}{'median':>10}{'quartiles':>18}{'ratio':>8}"]
    for result in results:
        low, _, high = statistics.quantiles(result.milliseconds, n=4)
        lines.append(
            f"{result.name:<18}{result.median:>7.0f} ms{low:>8.0f} to {high:>4.0f} ms"
            f"{ratio(results[0], result):>8.2f}"
        )
    lines.append(f"{len(results[0].milliseconds)} rounds; ratio: the median of the rounds' ratios")
    return "\n".join((*lines, arena.load()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
