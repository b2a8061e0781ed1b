"""Follow changes of a running VM's networks.

The keeper runs :func:`main` when a network device is added, removed or changed. Each change is one
line of the log.

A network that is connected to the running container becomes a NIC of the guest, and goes with the
network (:mod:`vmnet.lifecycle.hotplug`). If the VM can't get it, the container's own kernel would
answer for the network's address until the next start. So vmnet blocks the new NIC by a filter that
drops every frame. Setting the NIC down instead would make the engine's `network connect` fail.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import evolve

from vmnet.errors import VmnetError
from vmnet.lifecycle import uplink_record, vm_record
from vmnet.lifecycle.uplink_record import Uplink, UplinkRecord
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.settings.core import HOTPLUG, INTERFACES
from vmnet.settings.table import value
from vmnet.supervision import program_log

_log = logging.getLogger(__name__)
_ROUTES = Path("/proc/self/net/route")
_REMEDY = "restart the container: vmnet takes over its networks at each start"


def main(run_dir: str) -> None:
    """Follow the changes: the program that the keeper runs."""
    with program_log.logged():
        follow(Path(run_dir), os.environ)


def follow(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Log the changes since the last call, and give the guest new networks.

    :raises VmnetError: the record can't be read or written
    """
    record = uplink_record.load(run_dir)
    if record is None or vm_record.load(run_dir) is None:
        return
    slots = value(environ, HOTPLUG)
    if _is_idle(record, environ):
        _log_changes(run_dir, record, environ)
        return
    from vmnet.lifecycle import hotplug

    with hotplug.exclusive(run_dir):
        record = uplink_record.load(run_dir)
        if record is not None:
            record = _abandon_pending(run_dir, record, environ)
            record = _unplug_gone(run_dir, record, environ)
            if slots:
                record = _cut_gone(run_dir, record, environ)
            record = _plug_added(run_dir, record, environ, slots)
            _log_changes(run_dir, record, environ)


def _is_idle(record: UplinkRecord, environ: Mapping[str, str]) -> bool:
    """Return whether the guest neither gets a NIC nor loses one."""
    devices, has_slots = device.devices(), value(environ, HOTPLUG) > 0
    return not (
        record.pending
        or any(uplink.slot is not None and uplink.index not in devices for uplink in record.uplinks)
        or (has_slots and any(_cut(record, devices)))
        or (has_slots and _added(record, devices, environ))
    )


def log_changes(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Log the changes since the last call, and block new NICs.

    :raises VmnetError: the record can't be read or written
    """
    record = uplink_record.load(run_dir)
    if record is not None and vm_record.load(run_dir) is not None:
        _log_changes(run_dir, record, environ)


def _log_changes(run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]) -> None:
    devices = device.devices()
    troubles = {uplink.index: _log_change(uplink, devices) for uplink in record.uplinks}
    new = _added(record, devices, environ)
    for nic in new:
        _shut(nic)
    changed = uplink_record.with_news(record, troubles, [nic.index for nic in new], devices)
    if changed != record:
        uplink_record.save(run_dir, changed)


def _log_change(uplink: Uplink, devices: Mapping[int, Device]) -> str:
    """Log a change of an uplink's trouble, and return the trouble."""
    trouble = uplink_record.trouble(uplink, devices)
    if trouble and trouble != uplink.logged:
        _log.error("%s", trouble, extra={"hint": _REMEDY})
    elif uplink.logged and not trouble:
        where = f" in {uplink.bridge}" if uplink.bridge else ""
        _log.info("%s is back%s, with a carrier", uplink.name, where)
    return trouble


def _added(
    record: UplinkRecord, devices: Mapping[int, Device], environ: Mapping[str, str]
) -> list[Device]:
    return uplink_record.added_nics(record, devices, value(environ, INTERFACES))


def _abandon_pending(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]
) -> UplinkRecord:
    """Undo what an interrupted program has done for a NIC, and block the NIC."""
    from vmnet.lifecycle import hotplug

    if not record.pending:
        return record
    name, slot = record.pending, record.pending_slot
    _log.error("%s can't become a NIC of the guest: this took too long", name)
    trouble = hotplug.unplug(hotplug.find(environ, run_dir), name, slot)
    blocked = (*record.blocked, slot) if trouble else record.blocked
    known = [*record.known]
    for index, found in device.devices().items():
        if index not in known and found.name == name:
            _shut(found)
            known.append(index)
    record = evolve(record, pending="", known=tuple(known), blocked=blocked)
    uplink_record.save(run_dir, record)
    return record


def _unplug_gone(run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]) -> UplinkRecord:
    """Remove the guest's NICs whose network is gone, and return the record without them."""
    from vmnet.lifecycle import hotplug

    devices = device.devices()
    for uplink in record.uplinks:
        if uplink.slot is None or uplink.index in devices:
            continue
        trouble = hotplug.unplug(hotplug.find(environ, run_dir), uplink.name, uplink.slot)
        text = f"{uplink.name} was disconnected: the guest's NIC is removed"
        if trouble:
            text = f"{uplink.name} was disconnected: {trouble}"
            record = evolve(record, blocked=(*record.blocked, uplink.slot))
        (_log.error if trouble else _log.info)("%s", text)
        left = tuple(other for other in record.uplinks if other != uplink)
        record = evolve(record, uplinks=left).with_event(text)
        uplink_record.save(run_dir, record)
    return record


def _cut(record: UplinkRecord, devices: Mapping[int, Device]) -> Iterator[Uplink]:
    """Yield the NICs of the start that are gone, while the guest's NICs have a carrier."""
    for uplink in record.uplinks:
        if uplink.slot is None and uplink.index not in devices and not uplink.is_cut:
            yield uplink


def _cut_gone(run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]) -> UplinkRecord:
    """Take the carrier from the guest's NICs of the start whose network is gone."""
    from vmnet.lifecycle import hotplug

    for uplink in _cut(record, device.devices()):
        try:
            hotplug.set_carrier(hotplug.find(environ, run_dir), uplink.name, up=False)
        except VmnetError as error:
            _log.warning("%s: the guest's NIC keeps its carrier: %s", uplink.name, error.message)
        record = _replaced(record, uplink, evolve(uplink, is_cut=True))
        uplink_record.save(run_dir, record)
    return record


def _rejoin(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str], uplink: Uplink, nic: Device
) -> UplinkRecord:
    """Connect a NIC in the place of a NIC of the start that is gone."""
    from vmnet.lifecycle import hotplug

    try:
        vm = hotplug.rejoin(hotplug.find(environ, run_dir), nic.name)
    except VmnetError as error:
        _refuse(nic, error.message)
        return record
    text = f"{nic.name} was replaced: the guest's NIC is on its network again"
    _log.info("%s", text)
    described = uplink_record.describe(vm.wiring, device.devices())
    (new,) = (found for found in described.uplinks if found.name == nic.name)
    record = _replaced(record, uplink, new)
    record = evolve(record, known=(*record.known, nic.index)).with_event(text)
    uplink_record.save(run_dir, record)
    return record


def _replaced(record: UplinkRecord, old: Uplink, new: Uplink) -> UplinkRecord:
    uplinks = tuple(new if uplink == old else uplink for uplink in record.uplinks)
    return evolve(record, uplinks=uplinks)


def _plug_added(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str], slots: int
) -> UplinkRecord:
    """Give the guest the networks that were connected, and return the record with them.

    A network that it can't have remains for :func:`_log_changes`, which blocks it.
    """
    from vmnet.lifecycle import hotplug

    before = device.devices()
    for nic in _added(record, before, environ):
        gone = [own for own in record.uplinks if own.name == nic.name and own.is_cut]
        if gone:
            record = _rejoin(run_dir, record, environ, gone[0], nic)
            continue
        slot = record.free_slot(slots)
        if slot is None:
            _refuse(nic, "no slot is free: VMNET_HOTPLUG sets their number")
            continue
        uplink_record.save(run_dir, evolve(record, pending=nic.name, pending_slot=slot))
        try:
            vm = hotplug.plug(hotplug.find(environ, run_dir), nic.name, slot)
        except VmnetError as error:
            _refuse(nic, error.message)
            uplink_record.save(run_dir, record)
            continue
        now = device.devices()
        interface = vm.identity.interfaces[-1]
        addresses = " ".join(map(str, interface.addresses)) or "no address"
        text = f"{nic.name} was connected: the guest has a new NIC, {interface.mac} {addresses}"
        _log.info("%s", text)
        described = uplink_record.describe(vm.wiring, now)
        (uplink,) = (uplink for uplink in described.uplinks if uplink.name == nic.name)
        record = evolve(
            record,
            uplinks=(*record.uplinks, evolve(uplink, slot=slot)),
            known=(*record.known, *(index for index in now if index not in before), nic.index),
        ).with_event(text)
        uplink_record.save(run_dir, record)
    return record


def _refuse(nic: Device, why: str) -> None:
    _log.warning("%s can't become a NIC of the guest: %s", nic.name, why)


def _shut(nic: Device) -> None:
    """Block a NIC that the VM does not get."""
    from vmnet.net.filters import drop_all

    text = f"{nic.name} was added, but the VM is not on that network"
    if (obstacle := drop_all.shut(nic.name)) is None:
        text += ": vmnet blocks it"
    else:
        text += f"; the container itself answers there: {obstacle}"
    if nic.name in _default_routes():
        text += ". It took the default route: names outside don't resolve through the bridge"
    _log.warning("%s", text, extra={"hint": _REMEDY})


def _default_routes() -> set[str]:
    """Return the devices of IPv4 default routes (proc_net(5))."""
    lines = _ROUTES.read_text().splitlines()[1:]
    return {name for name, to, *_ in map(str.split, lines) if to == "00000000"}
