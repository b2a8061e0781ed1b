"""``vmnet status``: the running VM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmnet import pipeline
from vmnet.cli.output import Parser, print_json, styled, table
from vmnet.identity import Interface
from vmnet.running import find, status
from vmnet.running.bridges import Bridge
from vmnet.running.guest import Presence
from vmnet.running.status import Qemu, Status
from vmnet.serial import plain
from vmnet.wiring import Port

_ACCELERATORS = {"kvm": "KVM", "tcg": "emulation (TCG)"}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("status", "Show the running VM: QEMU, its network, whether the guest answers.")
    options = parser.parse_args(arguments)
    found = status.of(find.machine(environ), pipeline.select(environ))
    if options.json:
        print_json(plain(found))
    else:
        print(table(("what", "state"), list(_rows(found))))
    return 0


def _rows(found: Status) -> Iterator[tuple[str, str]]:
    process = found.process
    yield "QEMU", _state(found.qemu)
    yield "", f"{process.name}, process {process.pid}, for {duration(found.uptime)}"
    yield "host name", ".".join(filter(None, (found.identity.hostname, found.identity.domain)))
    for interface, port, bridge, trouble, presence in zip(
        found.identity.interfaces,
        found.wiring.ports,
        found.bridges,
        found.uplinks,
        found.guest,
        strict=True,
    ):
        yield interface.name, f"{interface.mac} {_addresses(interface)}"
        yield "", _way(port, bridge)
        if trouble:
            yield "", _marked(False, f"{trouble}: restart the container")
        if bridge.trouble:
            yield "", _marked(False if bridge.is_deaf else None, bridge.trouble)
        for one in found.handovers:
            if one.interface == interface.name:
                yield "", _marked(one.done, f"{one.strategy}: {one.detail}")
        yield "", _presence(presence)
    for name in found.newcomers:
        yield name, _marked(None, "came after the start, and is not the VM's until a restart")
    for helper in found.helpers:
        parts = (f"process {helper.pid}" if helper.pid else "", helper.trouble)
        text = ", ".join(filter(None, parts))
        yield helper.name.removeprefix("the "), _marked(helper.runs, text)


def _state(qemu: Qemu) -> str:
    if qemu.unknown:
        return _marked(None, f"not known: {qemu.unknown}")
    text = f"{qemu.state}, {_ACCELERATORS[qemu.accelerator]}, version {qemu.version}"
    return _marked(qemu.state == "running", text)


def _addresses(interface: Interface) -> str:
    return " ".join(map(str, interface.addresses)) or "no address"


def _way(port: Port, bridge: Bridge) -> str:
    own = " ".join((bridge.name, *map(str, bridge.addresses)))
    return f"{port.tap}, {own}, {port.uplink} {port.uplink_mac}"


def _presence(one: Presence) -> str:
    if one.unknown:
        return _marked(None, f"the guest was not asked: {one.unknown}")
    parts = []
    if one.answering:
        parts.append(f"answers for {' '.join(one.answering)}")
    if one.silent:
        parts.append(f"does not answer for {' '.join(one.silent)}")
    return _marked(one.answers, f"the guest {', '.join(parts)}")


def _marked(good: bool | None, text: str) -> str:
    return styled(text, {True: "green", False: "red", None: "yellow"}[good])


def duration(seconds: float) -> str:
    """In its two largest units: 3 d 4 h, 2 min 5 s."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
