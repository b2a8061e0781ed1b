"""``python -m bench.throughput``: packets a second and TCP throughput between guest and network.

Each round measures every path once, in turn, each in a new container. A program in QEMU's place
exchanges frames by the tap. Paths made by hand show what the kernel can do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from bench import arena, installed, tap_paths
from bench.arena import BenchmarkError
from tests.lab.command import CommandError
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace, namespace
from vmnet.net.packets import ETHERNET, mac_bytes

_PROGRAM = Path(__file__).with_name("tap_program.py")
_PORT = 5201


@frozen
class Plugged:
    """A guest's path to the network.

    :param pid: the process that has opened the tap
    :param fd: the tap's descriptor in it
    """

    network: Lan
    container: Namespace
    station: Namespace
    pid: int
    fd: int


@frozen
class Figures:
    """The results of a path in a round.

    :param packets: of 60 bytes, from the guest, in a second of the sender's CPU time
    :param sending: Mbit/s of a TCP connection from the guest
    :param receiving: Mbit/s of a TCP connection to the guest
    """

    packets: float
    sending: float
    receiving: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--seconds", type=float, default=1, help="duration of each measurement (1)")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    installed.add_option(parser)
    options = parser.parse_args(arguments)
    try:
        arena.require_tools()
        found = measure(options.python or installed.python(), options.rounds, options.seconds)
    except (BenchmarkError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        plain = {
            name: [[each.packets, each.sending, each.receiving] for each in rows]
            for name, rows in found.items()
        }
        print(json.dumps(plain, indent=2))
    else:
        print(table(found))
    return 0


def measure(python: Path, rounds: int, seconds: float) -> dict[str, list[Figures]]:
    """Measure all paths in turn."""
    paths = _paths(python)
    found: dict[str, list[Figures]] = {name: [] for name in paths}
    for number in range(-1, rounds):  # round -1 warms up and is not counted
        for name, enter in paths.items():
            with enter() as plugged:
                figures = _measure(plugged, seconds if number >= 0 else 0.1)
            if number >= 0:
                found[name].append(figures)
    return found


def _paths(python: Path) -> dict[str, Callable[[], AbstractContextManager[Plugged]]]:
    by_hand = {name: partial(_by_hand, enter) for name, enter in tap_paths.by_hand().items()}
    by_vmnet = {
        f"vmnet's {strategy}, filter {filtered}": partial(_by_vmnet, python, strategy, filtered)
        for strategy in ("bridge", "redirect")
        for filtered in ("on", "off")
    }
    return {**by_hand, **by_vmnet}


@contextmanager
def _by_hand(enter: Callable[[Namespace], int]) -> Iterator[Plugged]:
    import os

    with lan() as network:
        container, station = network.container("vm"), network.station()
        fd = enter(container)
        try:
            yield Plugged(network, container, station, os.getpid(), fd)
        finally:
            os.close(fd)


@contextmanager
def _by_vmnet(python: Path, strategy: str, filtered: str) -> Iterator[Plugged]:
    stations: list[tuple[Lan, Namespace]] = []
    entry = arena.vmnet(python)
    environ = {**entry.environ, "VMNET_BRIDGE": strategy, "VMNET_FILTER": filtered}

    def lay_out(network: Lan, _container: Namespace) -> None:
        stations.append((network, network.station()))

    with arena.started(evolve(entry, environ=environ), arena.QEMU, lay_out=lay_out) as start:
        ((network, station),) = stations
        yield Plugged(network, start.container, station, start.process.pid, 100)


def _measure(plugged: Plugged, seconds: float) -> Figures:
    with _guest(plugged) as guest:
        guest.run("ping", "-c1", "-W5", plugged.station.address)
        sending = _tcp(guest, plugged.station, plugged.station.address, seconds)
        receiving = _tcp(plugged.station, guest, plugged.container.address, seconds)
    return Figures(_packets(plugged, seconds), sending, receiving)


@contextmanager
def _guest(plugged: Plugged) -> Iterator[Namespace]:
    """Connect a namespace to the tap. Its frames keep their offloads, as QEMU's do."""
    mac, address = plugged.container.mac, plugged.container.address
    with namespace("guest") as made:
        made.ip("link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", "wire")
        for link in ("wire", "eth0"):
            made.ip("link", "set", link, "up")
        made.ip("address", "add", f"{address}/24", "dev", "eth0")
        argv = (sys.executable, "-I", "-S", str(_PROGRAM), str(plugged.pid), str(plugged.fd))
        with made.popen(*argv, "cable", "wire", pipe=True) as process:
            arena.await_word(process, "ready")
            yield made


def _packets(plugged: Plugged, seconds: float) -> float:
    """Return how many packets reach the station in a second of the sending program's CPU time."""
    frame = ETHERNET.pack(mac_bytes(plugged.station.mac), mac_bytes(plugged.container.mac), 0x0800)
    argv = (sys.executable, "-I", "-S", str(_PROGRAM), str(plugged.pid), str(plugged.fd))
    words = (frame.hex(), plugged.container.address, plugged.station.address, str(seconds))
    before = _received(plugged.station)
    spent = float(plugged.container.run(*argv, "send", *words).stdout)
    return (_received(plugged.station) - before) / spent


def _received(station: Namespace) -> int:
    (link,) = station.ip("-j", "-s", "link", "show", "eth0").json()
    return int(link["stats64"]["rx"]["packets"])


def _tcp(sender: Namespace, receiver: Namespace, address: str, seconds: float) -> float:
    """Return the Mbit/s of a TCP connection."""
    program = (sys.executable, "-I", "-S", str(_PROGRAM), "0", "0")
    with receiver.popen(*program, "receive", str(_PORT), pipe=True) as process:
        arena.await_word(process, "ready")
        sender.run(*program, "stream", address, str(_PORT), str(seconds))
        return float(process.stdout.readline())


def table(found: dict[str, list[Figures]]) -> str:
    """Return the medians; the ratios are medians of the rounds' ratios to the first path."""
    base = next(iter(found.values()))
    lines = [f"{'path':<32}{'packets/s':>12}{'ratio':>7}{'TCP out':>14}{'ratio':>7}{'TCP in':>14}"]
    lines[0] += f"{'ratio':>7}"
    for name, rows in found.items():
        words = [f"{name:<32}"]
        for key, unit in (("packets", ""), ("sending", " Mb/s"), ("receiving", " Mb/s")):
            values = [getattr(row, key) for row in rows]
            ratios = [
                value / getattr(first, key) for value, first in zip(values, base, strict=True)
            ]
            width = 12 if not unit else 9
            words.append(f"{statistics.median(values):>{width},.0f}{unit}")
            words.append(f"{statistics.median(ratios):>7.2f}")
        lines.append("".join(words))
    lines.append(f"{len(base)} rounds; ratio: the median of the rounds' ratios to the first path")
    return "\n".join((*lines, arena.load()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
