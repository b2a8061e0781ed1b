"""Changes of networks that a running VM with user-mode networking does not follow."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from attrs import evolve

from vmnet.lifecycle.changes import new_nics, uplink_record
from vmnet.lifecycle.changes.uplink_record import UplinkRecord
from vmnet.net import device
from vmnet.net.device import Device

_log = logging.getLogger(__name__)


def configuration(nic: Device) -> str:
    """Return a NIC's addresses and MTU as one line.

    :raises OSError: the kernel refused
    """
    addresses = device.permanent_addresses(nic.index)
    return f"{' '.join(addresses) or 'no address'}, MTU {nic.mtu}"


def log_changes(
    record: UplinkRecord, devices: Mapping[int, Device], wanted: tuple[str, ...] | None
) -> UplinkRecord:
    """Log each change once, and return the record with it.

    :param wanted: the names of the NICs to hand over; None for all
    :raises OSError: the kernel refused
    """
    for nic in uplink_record.appeared(record, devices, wanted):
        record = evolve(record, known=(*record.known, nic.index))
        record = _warn(record, f"{nic.name} was added: with passt, a running VM gets no NIC for it")
    for uplink in record.uplinks:
        if uplink.index not in devices:
            continue
        now = configuration(devices[uplink.index])
        if now == uplink.configured:
            continue
        changed = evolve(uplink, configured=now)
        uplinks = tuple(changed if own == uplink else own for own in record.uplinks)
        text = f"{uplink.name} has {now} now: with passt, a running VM keeps those of its start"
        record = _warn(evolve(record, uplinks=uplinks), text)
    return record


def _warn(record: UplinkRecord, text: str) -> UplinkRecord:
    _log.warning("%s", text, extra={"event": "network.change_deferred", "hint": new_nics.REMEDY})
    return record.with_event(text)
