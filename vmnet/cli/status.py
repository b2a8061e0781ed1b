"""``vmnet status``: show the running VM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmnet import pipeline
from vmnet.cli import port_words
from vmnet.model.identity import Interface
from vmnet.model.serial import plain
from vmnet.model.wiring import Port
from vmnet.running import status
from vmnet.running.find_vm import find_vm
from vmnet.running.guest_answers import GuestAnswers
from vmnet.running.guest_network import GuestAddresses
from vmnet.running.local_state import LocalState
from vmnet.running.status import Qemu, Status
from vmnet.terminal.colours import styled
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser
from vmnet.terminal.tables import table

_ACCELERATORS = {"kvm": "KVM", "tcg": "emulation (TCG)"}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser(
        "status", "Show the running VM: QEMU, its network, and whether the guest answers."
    )
    options = parser.parse_args(arguments)
    found = status.of(find_vm(environ), pipeline.select(environ))
    if options.json:
        print_json(plain(found))
    else:
        print(table(("what", "state"), list(_rows(found))))
    return 0


def _rows(found: Status) -> Iterator[tuple[str, str]]:
    process = found.process
    yield "QEMU", _state(found.qemu)
    yield "", f"{process.name}, process {process.pid}, for {duration(found.uptime)}"
    yield "firmware", found.firmware
    yield "host name", ".".join(filter(None, (found.identity.hostname, found.identity.domain)))
    for (interface, port), nic, local, trouble, answers, in_guest in zip(
        found.wiring.pairs(found.identity),
        found.nics,
        found.local,
        found.uplinks,
        found.guest,
        found.in_guest,
        strict=True,
    ):
        yield interface.name, f"{interface.mac} {_addresses(interface)}"
        yield "", f"{nic}, {_path(port, local)}"
        yield from (("", line) for line in port_words.further(port))
        if trouble:
            yield "", _marked(False, f"{trouble}: restart the container")
        if local.trouble:
            yield "", _marked(False if local.is_deaf else None, local.trouble)
        for handover in found.handovers:
            if handover.interface == interface.name:
                yield "", _marked(handover.done, f"{handover.strategy}: {handover.detail}")
        yield "", _answers(answers)
        yield "", _in_guest(in_guest)
    for name in found.added_nics:
        yield name, _marked(None, "was added after the start; the VM gets it at the next restart")
    for number, change in enumerate(found.changes):
        yield "" if number else "networks", change
    for helper in found.helpers:
        parts = (f"process {helper.pid}" if helper.pid else "", helper.trouble)
        text = ", ".join(filter(None, parts))
        yield helper.name.removeprefix("the "), _marked(helper.runs, text)


def _state(qemu: Qemu) -> str:
    if qemu.unknown:
        return _marked(None, f"unknown: {qemu.unknown}")
    accelerator = _ACCELERATORS[qemu.accelerator]
    text = f"{qemu.state}, {accelerator}, {qemu.architecture}, version {qemu.version}"
    return _marked(qemu.state == "running", text)


def _addresses(interface: Interface) -> str:
    return " ".join(map(str, interface.addresses)) or "no address"


def _path(port: Port, local: LocalState) -> str:
    """Describe a port's path, from the guest's NIC to the uplink."""
    backend = port_words.backend(port)
    own = " ".join((local.device, *map(str, local.addresses)))
    parts = (backend if local.device != backend else "", own, port_words.uplink(port))
    return ", ".join(filter(None, parts))


def _answers(answers: GuestAnswers) -> str:
    if answers.unknown:
        return _marked(None, f"the guest was not queried: {answers.unknown}")
    parts = []
    if answers.answering:
        parts.append(f"answers for {' '.join(answers.answering)}")
    if answers.silent:
        parts.append(f"does not answer for {' '.join(answers.silent)}")
    return _marked(answers.has_answered, f"the guest {', '.join(parts)}")


def _in_guest(found: GuestAddresses) -> str:
    """Describe the addresses that the guest has, as its agent reports them."""
    have = " ".join(found.addresses) or "no address"
    match found.verdict:
        case "agree":
            text = f"has {have}, as it should"
        case "differ":
            lacks = f", but not {' '.join(found.missing)}" if found.missing else ""
            text = found.unknown or f"has {have}{lacks}: the identity differs"
        case _:
            text = f"has {have}; {found.unknown}" if found.addresses else found.unknown
    good = {"agree": True, "differ": False}.get(found.verdict)
    return _marked(good, f"by its agent, the guest {text}" if found.addresses else f"agent: {text}")


def _marked(good: bool | None, text: str) -> str:
    return styled(text, {True: "green", False: "red", None: "yellow"}[good])


def duration(seconds: float) -> str:
    """Format a duration in its two largest units: 3 d 4 h, 2 min 5 s."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
