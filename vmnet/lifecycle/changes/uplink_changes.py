"""Follow changes of a running VM's networks.

The keeper runs :func:`main` when a network device is added, removed or changed. Each change is one
line of the log.

A network that is connected to the running container becomes a NIC of the guest, and goes with the
network (:mod:`vmnet.lifecycle.changes.hotplug`). If the VM can't get it, the container's own kernel
would answer for the network's address until the next start. So vmnet blocks the new NIC by a filter
that drops every frame. Setting the NIC down instead would make the engine's `network connect` fail.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Container, Mapping
from pathlib import Path

from vmnet.lifecycle import vm_record
from vmnet.lifecycle.changes import new_nics, uplink_record, user_mode
from vmnet.lifecycle.changes.uplink_record import Uplink, UplinkRecord
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.settings.core import HOTPLUG, INTERFACES
from vmnet.settings.table import value
from vmnet.supervision import program_log

_log = logging.getLogger(__name__)
_START_SECONDS, _POLL_SECONDS = 5.0, 0.02


def main(run_dir: str) -> None:
    """Follow the changes: the program that the keeper runs."""
    with program_log.logged():
        follow(Path(run_dir), os.environ)


def follow(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Log the changes since the last call, and give the guest new networks.

    :raises VmnetError: the record can't be read or written
    """
    record = _await_start(run_dir)
    if record is None:
        return
    slots = value(environ, HOTPLUG)
    # A NIC that comes later gets its own call, which can give it to the guest.
    seen = device.numbers() if slots else None
    if _is_idle(record, environ):
        _log_changes(run_dir, record, environ, seen)
        return
    from vmnet.lifecycle.changes import hotplug, uplink_actions

    with hotplug.exclusive(run_dir):
        record = uplink_record.load(run_dir)
        if record is not None:
            record = uplink_actions.abandon_pending(run_dir, record, environ)
            record = uplink_actions.unplug_gone(run_dir, record, environ)
            if slots:
                record = uplink_actions.cut_gone(run_dir, record, environ)
                record = uplink_actions.deliver_changed(run_dir, record, environ)
            uplink_actions.withdraw_way_out(record)
            if slots:
                seen = device.numbers()
                record = uplink_actions.plug_added(run_dir, record, environ, slots)
            uplink_actions.put_way_out_right(record)
            _log_changes(run_dir, record, environ, seen)


def _await_start(run_dir: Path) -> UplinkRecord | None:
    """Return the record when the start has written its files and made the control socket.

    The keeper runs before. A start that fails ends it.
    """
    end = time.monotonic() + _START_SECONDS
    while (vm := vm_record.load(run_dir)) is None or not (vm.qmp is None or vm.qmp.exists()):
        if time.monotonic() > end:
            break
        time.sleep(_POLL_SECONDS)
    return uplink_record.load(run_dir) if vm is not None else None


def _is_idle(record: UplinkRecord, environ: Mapping[str, str]) -> bool:
    """Return whether nothing changes for the guest, nor for the container's default route."""
    devices, has_slots = device.devices(), value(environ, HOTPLUG) > 0
    return not (
        record.pending
        or any(uplink.slot is not None and uplink.index not in devices for uplink in record.uplinks)
        or (has_slots and any(uplink_record.to_cut(record, devices)))
        or (has_slots and any(uplink_record.changed(record, devices, device.addressed())))
        or (has_slots and _added(record, devices, environ))
        or record.lost_way_out(devices)
        or record.useless_way_out(devices)
    )


def log_changes(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Log the changes since the last call, and block new NICs.

    :raises VmnetError: the record can't be read or written
    """
    record = uplink_record.load(run_dir)
    if record is not None and vm_record.load(run_dir) is not None:
        _log_changes(run_dir, record, environ)


def _log_changes(
    run_dir: Path,
    record: UplinkRecord,
    environ: Mapping[str, str],
    seen: Container[int] | None = None,
) -> None:
    """:param seen: the indexes of the devices that may be blocked; None for all"""
    devices = device.devices()
    troubles = {uplink.index: _log_change(uplink, devices) for uplink in record.uplinks}
    added = _added(record, devices, environ)
    new = [nic for nic in added if seen is None or nic.index in seen]
    texts = [new_nics.shut(nic) for nic in new]
    before = record
    if record.is_user_mode:
        record = user_mode.log_changes(record, devices, value(environ, INTERFACES))
    changed = uplink_record.with_news(record, troubles, [nic.index for nic in new], devices)
    if changed != before:
        uplink_record.save(run_dir, changed)
    for text in texts:
        new_nics.report(text)


def _log_change(uplink: Uplink, devices: Mapping[int, Device]) -> str:
    """Log a change of an uplink's trouble, and return the trouble."""
    trouble = uplink_record.trouble(uplink, devices)
    if trouble and trouble != uplink.logged:
        _log.error("%s", trouble, extra={"event": "network.lost", "hint": new_nics.REMEDY})
    elif uplink.logged and not trouble:
        where = f" in {uplink.bridge}" if uplink.bridge else ""
        _log.info(
            "%s is back%s, with a carrier", uplink.name, where, extra={"event": "network.back"}
        )
    return trouble


def _added(
    record: UplinkRecord, devices: Mapping[int, Device], environ: Mapping[str, str]
) -> list[Device]:
    return uplink_record.added_nics(record, devices, value(environ, INTERFACES))
