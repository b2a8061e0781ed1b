"""``python -m bench.hotplug``: measure how soon a guest has the address of a later network.

A real QEMU boots the demonstration guest. Each round connects a network to the container and
disconnects it, and adds an address to the first NIC and withdraws it, in turn. The clock runs from
the command until the guest reports the address.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

from bench import arena, installed
from bench.arena import BenchmarkError
from bench.idle import idling
from tests.lab.command import CommandError, Process
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import TimedOutError, until

_SECONDS = 120
_NEW, _CHANGED = "a new network", "a changed address"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hotplug", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--json", action="store_true", help="print JSON, in seconds")
    installed.add_option(parser)
    options = parser.parse_args(arguments)
    try:
        arena.require_tools()
        python = options.python or installed.python()
        with idling(python.with_name("vmnet")) as (network, container, vm):
            rounds = [_round(network, container, vm, number) for number in range(options.rounds)]
    except (BenchmarkError, CommandError, TimedOutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = {
        name: {
            "median": round(statistics.median(row[name] for row in rounds), 2),
            "maximum": round(max(row[name] for row in rounds), 2),
        }
        for name in (_NEW, _CHANGED)
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for name, found in report.items():
            print(f"{name:<18}{found['median']:>6.2f} s, at most {found['maximum']:.2f} s")
    return 0


def _round(network: Lan, container: Namespace, vm: Process, number: int) -> dict[str, float]:
    with lan(2 + number, host=network.host) as later:
        address = str(later.network[2])
        begun = time.monotonic()
        nic = later.attach(container, "eth1", address=address, gateway=False)
        new = _await(vm, f" {address}/24", begun)
        later.host.ip("link", "delete", nic.port)
        _await(vm, "eth1 is gone", begun, 1 + number)
    old, address = _addresses(network, number), str(network.network[100 + number])
    container.ip("address", "add", f"{old}/24", "dev", "eth0", "preferred_lft", "0")
    begun = time.monotonic()
    container.ip("address", "add", f"{address}/24", "dev", "eth0")
    return {_NEW: new, _CHANGED: _await(vm, f"vmnet-guest: eth0 {address}/24", begun)}


def _addresses(network: Lan, number: int) -> str:
    """Return the address of the first NIC before a round."""
    return str(network.network[99 + number] if number else network.network[2])


def _await(vm: Process, text: str, begun: float, times: int = 1) -> float:
    """Wait until the console has a text, and return the seconds since the beginning."""

    def is_there() -> bool:
        vm.require_running()
        return vm.output().count(text) >= times

    until(is_there, _SECONDS, repr(text), detail=vm.output)
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
