"""Is the machine healthy? What an engine asks every few seconds, and acts upon.

An engine may replace what is unhealthy, and a VM that is replaced is a VM that is unplugged. So
unhealthy is only what will not mend itself, or what worked and no longer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from vmnet.errors import GuestError, StateError
from vmnet.lifecycle import files, launched, uplinks
from vmnet.lifecycle.launched import Launched
from vmnet.noun import Noun, noun
from vmnet.running import bridges, guest, runstate
from vmnet.running.guest import Presence

_FILE = "answered"
_HELPERS_SECONDS = 10.0  # from the start of QEMU, in which its guard may come up


@noun
class Health(Noun):
    """:param verdict: ``starting``, ``healthy`` or ``unhealthy``"""

    verdict: str
    reason: str

    @property
    def is_good(self) -> bool:
        return self.verdict == "healthy"


def examine(run_dir: Path, grace: float, *, strict: bool = False) -> Health:
    """:param grace: seconds from the start in which the guest may boot
    :param strict: the guest must answer by then; else one that never has is none of our business
    :raises vmnet.errors.StateError: the record of the start can't be read
    """
    machine = launched.load(run_dir)
    if machine is None:
        return Health("starting", "QEMU has not been started yet")
    for helper in machine.helpers:
        pid, trouble = helper.look()
        if trouble and not (pid == 0 and machine.machine.seconds < _HELPERS_SECONDS):
            return Health("unhealthy", f"{helper.name} {trouble}: the container's log may say why")
    if lost := uplinks.troubles(run_dir):
        return Health("unhealthy", "; ".join(lost))
    try:
        answer = runstate.ask(machine.qmp) if machine.qmp else runstate.Answer()
    except GuestError as error:
        return Health("unhealthy", f"QEMU: {error.message}")
    if answer.silent:
        return Health("unhealthy", "QEMU does not answer on its control socket")
    if answer.state == "suspended":
        return Health("healthy", "the guest sleeps, as it chose to")
    if answer.state and answer.state not in runstate.AT_WORK:
        return Health("unhealthy", f"{answer.state}: {runstate.trouble(answer.state)}")
    seen = [bridges.look(nic) for nic in machine.nics]
    if deaf := [one for one in seen if one.is_deaf]:
        return Health("unhealthy", deaf[0].trouble)
    found = [guest.ask(nic) for nic in machine.nics]
    judged = _judge(machine, found, run_dir, grace, strict=strict)
    troubles = (one.trouble for one in seen if one.trouble)
    return evolve(judged, reason="; ".join((judged.reason, *troubles)))


def _judge(
    machine: Launched, found: list[Presence], run_dir: Path, grace: float, *, strict: bool
) -> Health:
    """A guest is up when each NIC that can be asked answers; from then on it must."""
    answered = _Answered(run_dir / _FILE, machine)
    answered.add(one.nic for one in found if one.answers)
    confined = {one.name for one in machine.nics if one.confined}
    for one in found:
        if one.nic in answered and not one.answers and not one.unknown and one.nic in confined:
            return Health("unhealthy", f"{_silence(one)} any more")
    never = [one for one in found if not one.answers and not one.unknown]
    words = "; ".join((*map(_words, found), *answered.trouble))
    if not never:
        return Health("healthy", words)
    if machine.machine.seconds < grace:
        return Health("starting", f"{_silence(never[0])} yet")
    if strict:
        return Health("unhealthy", f"{_silence(never[0])} after {grace:g} s")
    return Health("healthy", words)


def _silence(one: Presence) -> str:
    return f"the guest does not answer for {', '.join(one.silent)} on {one.nic}"


def _words(one: Presence) -> str:
    if one.unknown:
        return f"{one.nic}: not asked, {one.unknown}"
    if not one.answers:
        return f"{one.nic}: the guest has not answered, so it is not judged by that"
    return f"{one.nic}: the guest answers for {', '.join(one.answering)}"


class _Answered:
    """The NICs that this machine has answered on, kept from one look to the next.

    ``trouble`` says why they can't be kept, on a full disk for example. The next look tries again.
    """

    def __init__(self, path: Path, machine: Launched) -> None:
        self._path = path
        self._key = f"{machine.machine.pid} {machine.machine.started}"
        lines = files.read(path).decode().splitlines() if path.exists() else []
        self._names = set(lines[1:]) if lines[:1] == [self._key] else set()
        self.trouble: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, names: Iterator[str]) -> None:
        """Written only when there is something new, which is once a start."""
        before = len(self._names)
        self._names.update(names)
        if len(self._names) > before:
            text = "\n".join((self._key, *sorted(self._names)))
            try:
                files.write(self._path, text.encode())
            except StateError as error:
                self.trouble = (error.message,)
