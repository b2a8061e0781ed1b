"""Judge the VM's health, which an engine queries every few seconds and acts on.

An engine may replace an unhealthy container, which powers off its VM without a shutdown. So a VM is
unhealthy only if a fault will not repair itself, if something worked and no longer does, or if the
guest has answered on no NIC within its grace time. The last is not required of an installer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve

from vmnet.errors import GuestError, StateError
from vmnet.lifecycle import files, vm_record
from vmnet.lifecycle.changes import uplink_record
from vmnet.lifecycle.vm_record import GuestNic, VmRecord
from vmnet.model.base import frozen
from vmnet.running import guest_answers, local_state, run_state, snapshot_lock
from vmnet.running.guest_answers import GuestAnswers

_FILE = "answered"
# For all answers together: with the interpreter's start, a check takes less than half a second.
# kubelet's default limit is one second.
_SECONDS = 0.3
GRACE_SECONDS = 120
_HELPERS_SECONDS = 10.0  # after QEMU's start, for the helpers to start


@frozen
class Health:
    """The VM's health.

    :param verdict: ``starting``, ``healthy`` or ``unhealthy``
    """

    verdict: str
    reason: str

    @property
    def is_good(self) -> bool:
        return self.verdict == "healthy"


def examine(run_dir: Path, grace: float, *, strict: bool = True) -> Health:
    """Judge the VM's health.

    :param grace: seconds after the start for the guest to boot
    :param strict: whether a guest that has not answered by then is unhealthy
    :raises vmnet.errors.StateError: the record of the start can't be read
    """
    record = vm_record.load(run_dir)
    if record is None:
        return Health("starting", "QEMU has not been started yet")
    if snapshot_lock.is_locked(run_dir):
        return Health("healthy", "the guest is paused for a snapshot")
    if lost := uplink_record.troubles(run_dir):
        return Health("unhealthy", "; ".join(lost))
    for helper in record.helpers:
        pid, trouble = helper.state()
        if (
            trouble
            and helper.is_vital
            and not (pid == 0 and record.hypervisor.seconds < _HELPERS_SECONDS)
        ):
            return Health("unhealthy", f"{helper.name} {trouble}: see the container's log")
    guests = _Guests(record.nics)
    try:
        answer = run_state.ask(record.qmp, _SECONDS) if record.qmp else run_state.RunState()
    except GuestError as error:
        return Health("unhealthy", f"QEMU: {error.message}")
    if answer.silent:
        return Health("unhealthy", "QEMU does not answer on its control socket")
    if answer.state == "suspended":
        return Health("healthy", "the guest has suspended itself")
    if answer.state and answer.state not in run_state.AT_WORK:
        return Health("unhealthy", f"{answer.state}: {run_state.trouble(answer.state)}")
    current = [local_state.read(nic) for nic in record.nics]
    if deaf := [bridge for bridge in current if bridge.is_deaf]:
        return Health("unhealthy", deaf[0].trouble)
    found = guests.result()
    judged = _judge(record, found, run_dir, grace, strict=strict)
    troubles = (bridge.trouble for bridge in current if bridge.trouble)
    return evolve(judged, reason="; ".join((judged.reason, *troubles)))


class _Guests:
    """Queries to all NICs at the same time, while QEMU is queried."""

    def __init__(self, nics: Sequence[GuestNic]) -> None:
        self._nics = nics
        self._found: dict[str, GuestAnswers] = {}
        self._threads = [
            threading.Thread(target=self._ask, args=(nic,), daemon=True) for nic in nics
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, nic: GuestNic) -> None:
        self._found[nic.name] = guest_answers.ask(nic, _SECONDS)

    def result(self) -> list[GuestAnswers]:
        for thread in self._threads:
            thread.join()
        return [self._found[nic.name] for nic in self._nics]


def _judge(
    record: VmRecord, found: list[GuestAnswers], run_dir: Path, grace: float, *, strict: bool
) -> Health:
    """Judge the guest by its answers. A NIC that has answered must go on answering.

    One NIC of several must answer at all: many guests configure only their first NIC.
    A guest that may have other addresses than vmnet knows need not answer, but must send.
    """
    answered = _Answered(run_dir / _FILE, record)
    answered.add(answers.nic for answers in found if answers.has_answered)
    confined = {nic.name for nic in record.nics if nic.confined}
    silent = [
        answers
        for answers in found
        if answers.mute or (answers.nic in confined and answers.silent and not answers.has_answered)
    ]
    for answers in silent:
        if answers.nic in answered:
            return Health("unhealthy", f"{_silence(answers)} any more")
    reason = "; ".join((*map(_summary, found), *answered.trouble))
    if not silent:
        return Health("healthy", reason)
    if record.hypervisor.seconds < grace:
        return Health("starting", f"{_silence(silent[0])} yet")
    if strict and len(silent) == len(found):
        return Health("unhealthy", f"{_silence(silent[0])} after {grace:g} s")
    return Health("healthy", reason)


def _silence(answers: GuestAnswers) -> str:
    if not answers.silent:  # its addresses are unknown
        return f"the guest has sent nothing on {answers.nic}"
    return f"the guest does not answer for {', '.join(answers.silent)} on {answers.nic}"


def _summary(answers: GuestAnswers) -> str:
    if answers.unknown:
        return f"{answers.nic}: not queried, {answers.unknown}"
    if not answers.has_answered:
        return f"{answers.nic}: the guest does not answer; answers are not required"
    return f"{answers.nic}: the guest answers for {', '.join(answers.answering)}"


class _Answered:
    """The NICs on which this VM's guest has answered, stored in a file between checks.

    ``trouble`` explains why the file can't be written, for example because the disk is full. The
    next check tries again.
    """

    def __init__(self, path: Path, record: VmRecord) -> None:
        self._path = path
        self._key = f"{record.hypervisor.pid} {record.hypervisor.started}"
        lines = files.read(path).decode().splitlines() if path.exists() else []
        self._names = set(lines[1:]) if lines[:1] == [self._key] else set()
        self.trouble: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, names: Iterator[str]) -> None:
        """Add names, and write the file if a name is new, which happens once for each start."""
        before = len(self._names)
        self._names.update(names)
        if len(self._names) > before:
            text = "\n".join((self._key, *sorted(self._names)))
            try:
                files.write(self._path, text.encode())
            except StateError as error:
                self.trouble = (error.message,)
