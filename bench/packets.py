"""Packets a second from a guest's tap to the network, by what lies between them.

A program in QEMU's place writes small UDP packets to one queue of the tap. The kernel carries each
of them to the host's end of the NIC before the write returns. Each round measures every setup once,
in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from types import ModuleType

from attrs import evolve, frozen

from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.unit import frames
from vmnet import testing
from vmnet.model.wiring import Requirements, Tap
from vmnet.net import tap
from vmnet.net.packets import mac_bytes
from vmnet.strategies.bridge import plan as bridge
from vmnet.strategies.redirect import plan as redirect

_SECONDS = 0.25
_FIRST_FD = 120
_VNET_HEADER = bytes(10)


@frozen
class Setup:
    """A container whose tap is open in this process."""

    container: Namespace
    fd: int

    def rate(self, network: Lan, to: Namespace) -> float:
        """Return how many packets a second arrive at the host."""
        web = self.container
        packet = frames.ipv4(web.address, frames.UDP, frames.ports(4000, 9) + bytes(18))
        frame = _VNET_HEADER + mac_bytes(to.mac) + mac_bytes(web.mac) + packet[12:]
        before, start = self._arrived(network), time.perf_counter()
        while time.perf_counter() < start + _SECONDS:
            for _ in range(100):
                os.write(self.fd, frame)
        return (self._arrived(network) - before) / (time.perf_counter() - start)

    def _arrived(self, network: Lan) -> int:
        counter = f"/sys/class/net/{self.container.nic().port}/statistics/rx_packets"
        return int(network.host.run("cat", counter).stdout)


def vmnets(strategy: ModuleType, filtered: str) -> Callable[[Namespace, int], None]:
    """Return what connects the tap as a strategy of vmnet does."""

    def connect(web: Namespace, fd: int) -> None:
        settings = testing.settings({"VMNET_FILTER": filtered})
        identity = testing.identity(testing.interface(f"{web.address}/24", mac=web.mac))
        wiring = strategy.vmnet_bridge_plan(settings, identity, Requirements(contain=True))
        (port,) = wiring.ports
        wiring = evolve(wiring, ports=(evolve(port, backend=Tap("tap0", (fd,))),))
        strategy.vmnet_bridge_build(settings, wiring)

    return connect


def by_hand_bridge(web: Namespace, fd: int) -> None:
    """Connect the tap by a bridge without filters."""
    _open(web, fd)
    bridge0 = ("type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    web.ip("link", "add", "br0", "up", *bridge0)
    web.ip("link", "set", "eth0", "address", "06:00:00:00:00:01", "master", "br0")
    web.ip("link", "set", "tap0", "master", "br0")


def by_hand_redirect(web: Namespace, fd: int) -> None:
    """Connect the tap by tc-mirred(8) without filters."""
    _open(web, fd)
    for near, far in (("tap0", "eth0"), ("eth0", "tap0")):
        web.run("tc", "qdisc", "add", "dev", near, "clsact")
        every = ("protocol", "all", "u32", "match", "u32", "0", "0")
        action = ("action", "mirred", "egress", "redirect", "dev", far)
        web.run("tc", "filter", "add", "dev", near, "ingress", *every, *action)


def _open(web: Namespace, fd: int) -> None:
    tap.open_tap("tap0", fd)
    web.ip("address", "flush", "dev", "eth0")
    web.ip("link", "set", "tap0", "up")


SETUPS: Mapping[str, Callable[[Namespace, int], None]] = {
    "bridge by hand, no filter": by_hand_bridge,
    "VMNET_BRIDGE=bridge": vmnets(bridge, "on"),
    "VMNET_BRIDGE=bridge VMNET_FILTER=off": vmnets(bridge, "off"),
    "redirect by hand, no filter": by_hand_redirect,
    "VMNET_BRIDGE=redirect": vmnets(redirect, "on"),
    "VMNET_BRIDGE=redirect VMNET_FILTER=off": vmnets(redirect, "off"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.packets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in SETUPS}
    with lan() as network:
        station, setups = network.station(), {}
        for number, (name, connect) in enumerate(SETUPS.items()):
            web, fd = network.container(f"web{number}"), _FIRST_FD + number
            with web.entered():
                connect(web, fd)
            setups[name] = Setup(web, fd)
        for _ in range(options.rounds):
            for name, setup in setups.items():
                rates[name].append(setup.rate(network, station))
    first = next(iter(rates.values()))
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(found, first, strict=True)), 2)
        for name, found in rates.items()
    }
    if options.json:
        print(json.dumps({"rates": rates, "ratios": ratios}))
        return
    for name, found in rates.items():
        print(f"{name:40} {statistics.median(found):9.0f} {ratios[name]:5.2f}")


if __name__ == "__main__":
    main()
