"""What a running VM's networks require after a change: each action returns the changed record.

An action logs a change after it has saved it, so `vmnet status` shows what the log reports.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from vmnet.errors import VmnetError
from vmnet.lifecycle.changes import (
    hotplug,
    new_nics,
    readdress,
    replaced_nic,
    uplink_description,
    uplink_record,
    way_out,
)
from vmnet.lifecycle.changes.uplink_record import Uplink, UplinkRecord
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.settings.core import INTERFACES
from vmnet.settings.table import value

_log = logging.getLogger(__name__)


def abandon_pending(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]
) -> UplinkRecord:
    """Undo what an interrupted program has done for a NIC, and block the NIC."""
    if not record.pending:
        return record
    name, slot = record.pending, record.pending_slot
    refusal = f"{name} can't become a NIC of the guest: this took too long"
    _log.error("%s", refusal, extra={"event": "network.refused"})
    trouble = hotplug.unplug(hotplug.find(environ, run_dir), name, slot)
    blocked = (*record.blocked, slot) if trouble else record.blocked
    known, texts = [*record.known], []
    for index, found in device.devices().items():
        if index not in known and found.name == name:
            texts.append(new_nics.shut(found))
            known.append(index)
    record = evolve(record, pending="", known=tuple(known), blocked=blocked)
    uplink_record.save(run_dir, record)
    for text in texts:
        new_nics.report(text)
    return record


def unplug_gone(run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]) -> UplinkRecord:
    """Remove the guest's NICs whose network is gone, and return the record without them."""
    devices = device.devices()
    for uplink in record.uplinks:
        if uplink.slot is None or uplink.index in devices:
            continue
        trouble = hotplug.unplug(hotplug.find(environ, run_dir), uplink.name, uplink.slot)
        text = f"{uplink.name} was disconnected: the guest's NIC is removed"
        if trouble:
            text = f"{uplink.name} was disconnected: {trouble}"
            record = evolve(record, blocked=(*record.blocked, uplink.slot))
        left = tuple(other for other in record.uplinks if other != uplink)
        record = evolve(record, uplinks=left).with_event(text)
        uplink_record.save(run_dir, record)
        log = _log.error if trouble else _log.info
        log("%s", text, extra={"event": "network.disconnected"})
    return record


def cut_gone(run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]) -> UplinkRecord:
    """Take the carrier from the guest's NICs of the start whose network is gone."""
    for uplink in uplink_record.to_cut(record, device.devices()):
        try:
            readdress.set_carrier(hotplug.find(environ, run_dir), uplink.name, up=False)
        except VmnetError as error:
            text = f"{uplink.name}: the guest's NIC keeps its carrier: {error.message}"
            _log.warning("%s", text, extra={"event": "network.carrier_kept"})
        record = _replaced(record, uplink, evolve(uplink, is_cut=True))
        uplink_record.save(run_dir, record)
    return record


def _rejoin(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str], uplink: Uplink, nic: Device
) -> UplinkRecord:
    """Connect a NIC in the place of a NIC of the start that is gone."""
    before = device.devices()
    try:
        vm = readdress.rejoin(hotplug.find(environ, run_dir), uplink.name, nic.name)
    except VmnetError as error:
        _refuse(nic, error.message)
        return record
    interface = next(own for own in vm.identity.interfaces if own.name == nic.name)
    by = f" by {nic.name}" if nic.name != uplink.name else ""
    text = f"{uplink.name} was replaced{by}: the guest's NIC is on its network again"
    text += f", with {readdress.describe(interface)}"
    devices = device.devices()
    described = uplink_description.describe(vm.wiring, devices)
    (new,) = (found for found in described.uplinks if found.name == nic.name)
    record = _replaced(record, uplink, evolve(new, most_mtu=uplink.most_mtu))
    made = uplink_description.made_for(vm.wiring, nic.name, before, devices)
    known = (*record.known, *made, nic.index)
    record = evolve(record, known=known, way_out=way_out.plan(vm.wiring)).with_event(text)
    uplink_record.save(run_dir, record)
    _log.info("%s", text, extra={"event": "network.replaced"})
    return record


def deliver_changed(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str]
) -> UplinkRecord:
    """Deliver new addresses, routes and MTUs of the NICs that were handed over."""
    devices = device.devices()
    for uplink in uplink_record.changed(record, devices, device.addressed()):
        uplink_record.save(run_dir, _replaced(record, uplink, evolve(uplink, is_cut=True)))
        vm = hotplug.find(environ, run_dir)
        try:
            if uplink.is_cut:
                readdress.set_carrier(vm, uplink.name, uplink.slot, up=True)
            vm, text = readdress.change(vm, uplink.name, uplink.most_mtu, uplink.slot)
            log, event = _log.info, "network.changed"
        except VmnetError as error:
            text = f"{uplink.name} was changed; the guest sees it after a restart: {error.message}"
            log, event = _log.warning, "network.change_deferred"
        new = evolve(uplink, is_cut=False, mtu=devices[uplink.index].mtu)
        record = evolve(_replaced(record, uplink, new), way_out=way_out.plan(vm.wiring))
        record = record.with_event(text) if text else record
        uplink_record.save(run_dir, record)
        if text:
            log("%s", text, extra={"event": event})
    return record


def withdraw_way_out(record: UplinkRecord) -> None:
    """Remove the container's own default route if its NIC is gone."""
    if useless := record.useless_way_out(device.devices()):
        way_out.withdraw(useless)


def put_way_out_right(record: UplinkRecord) -> None:
    """Restore the container's own default route, which the engine has moved."""
    if lost := record.lost_way_out(device.devices()):
        try:
            way_out.put_right(lost)
        except VmnetError as error:
            text = f"{error.message}: names outside don't resolve through the bridge"
            _log.warning("%s", text, extra={"event": "network.way_out_lost"})


def _replaced_by(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str], nic: Device
) -> Uplink | None:
    """Return the NIC of the start in whose place a new NIC is; None if there is none."""
    gone = {own.name: own for own in record.uplinks if own.is_cut}
    if not gone:
        return None
    try:
        return gone.get(replaced_nic.find(hotplug.find(environ, run_dir), gone, nic.name))
    except VmnetError as error:
        _log.debug("%s: %s", nic.name, error.message)
        return None


def _replaced(record: UplinkRecord, old: Uplink, new: Uplink) -> UplinkRecord:
    uplinks = tuple(new if uplink == old else uplink for uplink in record.uplinks)
    return evolve(record, uplinks=uplinks)


def plug_added(
    run_dir: Path, record: UplinkRecord, environ: Mapping[str, str], slots: int
) -> UplinkRecord:
    """Give the guest the networks that were connected, and return the record with them.

    :mod:`vmnet.lifecycle.changes.uplink_changes` blocks a network that the guest can't have.
    """
    before = device.devices()
    for nic in uplink_record.added_nics(record, before, value(environ, INTERFACES)):
        gone = _replaced_by(run_dir, record, environ, nic)
        if gone is not None:
            record = _rejoin(run_dir, record, environ, gone, nic)
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
        described = uplink_description.describe(vm.wiring, now)
        (uplink,) = (uplink for uplink in described.uplinks if uplink.name == nic.name)
        made = uplink_description.made_for(vm.wiring, nic.name, before, now)
        record = evolve(
            record,
            uplinks=(*record.uplinks, evolve(uplink, slot=slot)),
            known=(*record.known, *made, nic.index),
        ).with_event(text)
        uplink_record.save(run_dir, record)
        _log.info("%s", text, extra={"event": "network.connected"})
    return record


def _refuse(nic: Device, why: str) -> None:
    text = f"{nic.name} can't become a NIC of the guest: {why}"
    _log.warning("%s", text, extra={"event": "network.refused"})
