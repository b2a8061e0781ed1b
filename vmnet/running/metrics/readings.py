"""Read the current values of the metrics from where `vmnet status` and `vmnet health` read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmnet import __version__
from vmnet.errors import GuestError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import state, vm_record
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.model.base import frozen
from vmnet.net import device, traffic
from vmnet.running import (
    agent,
    guest_answers,
    health,
    processes,
    run_state,
    snapshot_lock,
    sockets,
)
from vmnet.running.metrics import table
from vmnet.running.metrics.table import Metric
from vmnet.running.qmp_session import QmpSession
from vmnet.settings.core import CDROM, RUN_DIR
from vmnet.supervision import pidfiles

_ANSWER_SECONDS = 0.3  # for the guest, as in `vmnet health`
_QEMU_SECONDS = 0.5
_VERDICTS = ("starting", "healthy", "unhealthy")
_ACCELERATORS = {True: "kvm", False: "tcg"}
_NANOSECONDS = 1e-9
# By keys of QAPI's BlockDeviceStats.
_BLOCK_COUNTERS: Mapping[str, tuple[Metric, float]] = {
    "rd_bytes": (table.READ_BYTES, 1),
    "rd_operations": (table.READS, 1),
    "rd_total_time_ns": (table.READ_TIME, _NANOSECONDS),
    "failed_rd_operations": (table.READ_ERRORS, 1),
    "wr_bytes": (table.WRITTEN_BYTES, 1),
    "wr_operations": (table.WRITES, 1),
    "wr_total_time_ns": (table.WRITE_TIME, _NANOSECONDS),
    "failed_wr_operations": (table.WRITE_ERRORS, 1),
    "flush_operations": (table.FLUSHES, 1),
}


@frozen
class Reading:
    """The value of a metric, for some values of its labels.

    :param labels: in the order of the metric's; of an info the content, of a stateset the state
    """

    metric: Metric
    labels: tuple[str, ...]
    value: float


def read(hooks: Hooks) -> Iterator[Reading]:
    """Yield the current values. What can't be read is absent.

    :raises vmnet.errors.StateError: the record of the start can't be read
    """
    run_dir = hooks.settings[RUN_DIR]
    record = vm_record.load(run_dir)
    yield Reading(table.BUILD, (__version__,), 1)
    yield Reading(table.UP, (), record is not None)
    verdict = health.examine(
        run_dir, health.GRACE_SECONDS, strict=hooks.settings[CDROM] is None
    ).verdict
    for known in _VERDICTS:
        yield Reading(table.HEALTH, (known,), known == verdict)
    if record is None:
        return
    yield Reading(table.START_TIME, (), round(time.time() - record.hypervisor.seconds, 2))
    yield from _processes(record)
    yield from _guest(record, hooks)
    yield from _network(record)
    yield from _qemu(record, run_dir)


def _processes(record: VmRecord) -> Iterator[Reading]:
    found = {"qemu": (record.hypervisor.pid, True)}
    for helper in record.helpers:
        pid, trouble = helper.state()
        name = helper.name.removeprefix("the ")
        found[name] = (pid, not trouble)
        yield Reading(table.RESTARTS, (name,), pidfiles.restarts(str(helper.pidfile)))
    for name, (pid, runs) in found.items():
        yield Reading(table.PROCESS_UP, (name,), runs)
        used = processes.usage(pid) if runs else None
        if used is not None:
            yield Reading(table.MEMORY, (name,), used.memory)
            yield Reading(table.CPU, (name,), used.cpu)


def _guest(record: VmRecord, hooks: Hooks) -> Iterator[Reading]:
    for nic in record.nics:
        answers = guest_answers.ask(nic, _ANSWER_SECONDS)
        if not answers.unknown:
            yield Reading(table.ANSWERS, (nic.name,), not answers.silent)
    saved = state.load(hooks.settings[RUN_DIR], hooks.restorers)
    if saved is None:  # the VM's network is in another namespace
        return
    received: dict[tuple[str, str], bool] = {}
    for strategy, handover in hooks.status(saved.identity, saved.wiring):
        if handover.done is not None:
            labels = (handover.interface, strategy)
            received[labels] = received.get(labels, True) and handover.done
    for labels, is_done in received.items():
        yield Reading(table.RECEIVED, labels, is_done)


def _network(record: VmRecord) -> Iterator[Reading]:
    """Yield the counters of the taps. What a tap sends, the guest receives."""
    counters, filtered = traffic.counters(), traffic.filtered()
    dropped = {
        found.name: filtered[index]
        for index, found in device.devices().items()
        if index in filtered
    }
    for nic in record.nics:
        labels = (nic.name,)
        if tap := counters.get(nic.tap):
            yield Reading(table.RECEIVE_BYTES, labels, tap.sent_bytes)
            yield Reading(table.RECEIVE_PACKETS, labels, tap.sent)
            yield Reading(table.RECEIVE_DROPPED, labels, tap.sent_dropped)
            yield Reading(table.TRANSMIT_BYTES, labels, tap.received_bytes)
            yield Reading(table.TRANSMIT_PACKETS, labels, tap.received)
        for at, name in (("tap", nic.tap), ("uplink", nic.name)):
            if name in dropped:
                yield Reading(table.FILTERED, (nic.name, at), dropped[name])


def _qemu(record: VmRecord, run_dir: Path) -> Iterator[Reading]:
    """Yield what QEMU reports, unless a snapshot is at work, which needs the control socket."""
    if record.qmp is None or snapshot_lock.is_locked(run_dir):
        return
    try:
        with sockets.connect(record.qmp, _QEMU_SECONDS, _QEMU_SECONDS) as connection:
            found = tuple(_answers(QmpSession(connection), record))
    except GuestError:  # it has just ended, hangs, or serves another client
        return
    yield from found


def _answers(qemu: QmpSession, record: VmRecord) -> Iterator[Reading]:
    qemu.ask("qmp_capabilities", seconds=_QEMU_SECONDS)
    version = qemu.ask("query-version")["qemu"]
    number = f"{version['major']}.{version['minor']}.{version['micro']}"
    accelerator = _ACCELERATORS[qemu.ask("query-kvm")["enabled"]]
    yield Reading(table.QEMU, (number, accelerator), 1)
    is_running = qemu.ask("query-status")["status"] in run_state.AT_WORK
    yield Reading(table.GUEST_RUNNING, (), is_running)
    memory = qemu.ask("query-memory-size-summary")
    yield Reading(table.GUEST_MEMORY, (), memory["base-memory"])
    if record.agent is not None:
        is_open = agent.is_open_in_guest(record.agent, qemu.ask("query-chardev"))
        yield Reading(table.AGENT, (), is_open)
    yield from disks(qemu.ask("query-blockstats"))


def disks(found: list[dict[str, Any]]) -> Iterator[Reading]:
    """Yield the counters of the guest's disks.

    :param found: QEMU's answer to ``query-blockstats``
    """
    for entry in found:
        # An image below another has no name, nor do the flash chips of the firmware.
        if name := entry.get("device"):
            for key, (metric, scale) in _BLOCK_COUNTERS.items():
                if key in entry["stats"]:
                    yield Reading(metric, (name,), entry["stats"][key] * scale)
