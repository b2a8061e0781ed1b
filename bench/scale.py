"""``python -m bench.scale``: time starts with many NICs, and with many routes.

Each round starts a container of each size once, in turn. If the last NICs or routes cost no more
than the first, the total cost is in proportion.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from bench import arena, installed
from bench.arena import BenchmarkError, Entry, Start
from tests.lab.command import CommandError
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace

NICS, ROUTES = (1, 8, 32), (1, 250, 1000)
STRATEGIES = ("dnsmasq", "cloudinit")


@frozen
class Size:
    """The size of a container: its NICs, and the first NIC's routes besides the default route."""

    nics: int = 1
    routes: int = 1

    def lay_out(self, network: Lan, container: Namespace) -> None:
        for number in range(1, self.nics):
            own = f"172.31.{number}.2/24"
            network.attach(container, f"eth{number}", address=own, gateway=False)
        destinations = (f"10.{number // 256}.{number % 256}.0/24" for number in range(self.routes))
        batch = "".join(f"route add {prefix} via {network.gateway}\n" for prefix in destinations)
        container.run("ip", "-batch", "-", input=batch)


@frozen
class Result:
    """The results of a strategy.

    :param milliseconds: one for each round, for each size
    """

    strategy: str
    unit: str
    counts: tuple[int, ...]
    milliseconds: tuple[tuple[float, ...], ...]

    @property
    def medians(self) -> list[float]:
        return [statistics.median(row) for row in self.milliseconds]

    @property
    def each(self) -> list[float]:
        """The milliseconds of each further NIC or route, between one size and the next."""
        steps = zip(self.counts, self.counts[1:], self.medians, self.medians[1:], strict=False)
        return [(after - before) / (more - few) for few, more, before, after in steps]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        results = [
            compare(str(python.with_name("vmnet")), strategy, unit, counts, options.rounds)
            for strategy in STRATEGIES
            for unit, counts in (("nics", NICS), ("routes", ROUTES))
        ]
    except (BenchmarkError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(as_json(results), indent=2) if options.json else table(results))
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    installed.add_option(parser)
    return parser.parse_args(arguments)


def compare(vmnet: str, strategy: str, unit: str, counts: tuple[int, ...], rounds: int) -> Result:
    """Time containers with different numbers of NICs or routes.

    :raises BenchmarkError: a start failed, or more than one dnsmasq runs
    """
    entry = Entry("vmnet", (vmnet, "run"), {"VMNET_IPAM": strategy, "VMNET_GUARD": "off"})
    seconds: list[list[float]] = [[] for _ in counts]
    for number in range(-1, rounds):  # round -1 fills the page cache and is not counted
        for row, count in zip(seconds, counts, strict=True):
            size = Size(**{unit: count})
            with arena.started(entry, arena.QEMU, lay_out=size.lay_out) as start:
                _require_few_processes(start, strategy)
                if number >= 0:
                    row.append(start.seconds * 1000)
    return Result(strategy, unit, counts, tuple(map(tuple, seconds)))


def _require_few_processes(start: Start, strategy: str) -> None:
    found = len(arena.running("dnsmasq", start.container))
    expected = 1 if strategy == "dnsmasq" else 0
    if found != expected:
        raise BenchmarkError(f"{found} dnsmasq processes, not {expected}")


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "strategy": result.strategy,
            "of": result.unit,
            "counts": result.counts,
            "milliseconds": result.milliseconds,
            "medians": result.medians,
            "each": result.each,
        }
        for result in results
    ]


def table(results: Sequence[Result]) -> str:
    lines = [f"{'strategy':<12}{'':>16}{'start':>12}{'each more':>14}"]
    for result in results:
        costs = ("", *(f"{cost:.2f} ms" for cost in result.each))
        for count, median, cost in zip(result.counts, result.medians, costs, strict=True):
            start = f"{count:>9} {result.unit:<6}{median:>9.0f} ms"
            lines.append(f"{result.strategy:<12}{start}{cost:>14}")
    lines.append(f"medians of {len(results[0].milliseconds[0])} rounds; one dnsmasq for all NICs")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
