"""The uplinks of a running VM, and whether they are still in their bridges.

``uplinks.json`` records the uplinks of the start, and the trouble that was logged last, so that
each change is logged once. While the VM runs, :mod:`vmnet.lifecycle.changes.uplink_changes` updates
it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from vmnet.lifecycle import files
from vmnet.lifecycle.changes.way_out import WayOut
from vmnet.model.base import frozen
from vmnet.model.serial import plain
from vmnet.net import device
from vmnet.net.device import Device

_FILE = "uplinks.json"
_EVENTS = 16
# Devices that the container created. No engine connects a network with one.
_NOT_A_NETWORK = frozenset(("bridge", "tun", "dummy"))


@frozen
class Uplink:
    """A NIC that was handed over.

    :param bridge: the bridge that the NIC is a port of; empty if it is a port of none
    :param bridge_index: the bridge's index; 0 without a bridge
    :param tap: the tap to which the NIC's frames are redirected; empty if they are not
    :param tap_index: the tap's index; 0 without a redirection
    :param had_carrier: whether it has ever had a carrier, which hardware gets seconds after it was
        set up. Only then is a missing carrier a trouble.
    :param logged: the trouble that was logged last, or an empty string
    :param slot: the slot of the guest's NIC, if it was added while the VM runs
    :param is_cut: whether the guest's NIC has no carrier because this NIC is gone, or is changed
    :param mtu: the NIC's MTU that was delivered, in bytes
    :param most_mtu: the largest MTU that the guest's NIC can have
    :param has_addresses: whether the strategy leaves the NIC its addresses
    :param configured: the configuration that was logged last, if the guest does not follow changes
    """

    name: str
    index: int
    bridge: str
    bridge_index: int
    had_carrier: bool
    logged: str = ""
    slot: int | None = None
    is_cut: bool = False
    tap: str = ""
    tap_index: int = 0
    mtu: int = 0
    most_mtu: int = 0
    has_addresses: bool = False
    configured: str = ""


@frozen
class UplinkRecord:
    """The network devices of a start.

    :param known: the indexes of all devices at the start, and of later ones that were logged
    :param shut: the indexes of later ones, on which a filter drops everything
    :param pending: the name of a NIC that a program is handing over, to the slot ``pending_slot``
    :param blocked: slots with a NIC that the guest did not release
    :param events: the last changes, as ``vmnet status`` prints them
    :param is_user_mode: whether the guest uses the container's own network, later NICs included
    :param way_out: the container's own default route; None without one
    """

    uplinks: tuple[Uplink, ...]
    known: tuple[int, ...]
    shut: tuple[int, ...] = ()
    pending: str = ""
    pending_slot: int = 0
    blocked: tuple[int, ...] = ()
    events: tuple[str, ...] = ()
    is_user_mode: bool = False
    way_out: WayOut | None = None

    def with_event(self, text: str) -> UplinkRecord:
        """Return the record with a change that happens now."""
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return evolve(self, events=(*self.events, f"{now} {text}")[-_EVENTS:])

    def lost_way_out(self, devices: Container[int]) -> WayOut | None:
        """Return the container's own default route if it is missing though its NIC is there.

        :param devices: the indexes of the devices that exist
        """
        planned, nic = self.way_out, self._way_out_nic
        if planned is None or nic is None or nic.is_cut or nic.index not in devices:
            return None
        return planned if planned.is_lost else None

    def useless_way_out(self, devices: Container[int]) -> WayOut | None:
        """Return the container's own default route if it is there though its NIC is gone.

        :param devices: the indexes of the devices that exist
        """
        planned, nic = self.way_out, self._way_out_nic
        if planned is None or nic is None or nic.index in devices:
            return None
        return planned if planned.is_there else None

    @property
    def _way_out_nic(self) -> Uplink | None:
        name = self.way_out.uplink if self.way_out is not None else ""
        return next((own for own in self.uplinks if own.name == name), None)

    def free_slot(self, slots: int) -> int | None:
        """Return the first free slot, or None.

        :param slots: the number of slots
        """
        taken = {*self.blocked, *(uplink.slot for uplink in self.uplinks)}
        return next((slot for slot in range(slots) if slot not in taken), None)


def trouble(uplink: Uplink, devices: Mapping[int, Device]) -> str:
    """Return what is wrong with an uplink, or an empty string."""
    now = devices.get(uplink.index)
    if now is None:
        return f"{uplink.name} is gone, and the VM is off its network"
    if now.master != uplink.bridge_index:
        if not uplink.bridge:
            return f"{uplink.name} has become a port of a bridge"
        return f"{uplink.name} is no longer in {uplink.bridge}"
    if not now.is_up:
        return f"{uplink.name} is down"
    if uplink.had_carrier and not now.has_carrier:
        return f"{uplink.name} has no carrier: its other end is down, or gone"
    if uplink.tap and not (device.has_filter(uplink.index) and device.has_filter(uplink.tap_index)):
        return f"the frames of {uplink.name} are no longer redirected to {uplink.tap}"
    return ""


def troubles(run_dir: Path) -> list[str]:
    """Return what is wrong with the uplinks of the running VM.

    :raises StateError: the record can't be read
    """
    record = load(run_dir)
    if record is None:
        return []
    try:
        now = device.devices()
    except OSError as error:
        return [str(error.strerror or error)]
    return [text for uplink in record.uplinks if (text := trouble(uplink, now))]


def added_nics(
    record: UplinkRecord, devices: Mapping[int, Device], wanted: tuple[str, ...] | None
) -> list[Device]:
    """Return the NICs connected since the start that a new start would hand to the VM.

    :param wanted: the names of the NICs to hand over; None for all
    """
    return [] if record.is_user_mode else appeared(record, devices, wanted)


def to_cut(record: UplinkRecord, devices: Mapping[int, Device]) -> Iterator[Uplink]:
    """Yield the NICs of the start that are gone, while the guest's NICs have a carrier."""
    for uplink in record.uplinks:
        if uplink.slot is None and uplink.index not in devices and not uplink.is_cut:
            yield uplink


def changed(
    record: UplinkRecord, devices: Mapping[int, Device], addressed: Container[int]
) -> Iterator[Uplink]:
    """Yield the NICs to which the engine has assigned an address or another MTU.

    :param addressed: the indexes of the devices with an address
    """
    for uplink in () if record.is_user_mode else record.uplinks:
        now = devices.get(uplink.index)
        if now is None or uplink.has_addresses:
            continue
        # A carrier that is still off is left from a program that was interrupted.
        if uplink.is_cut or now.index in addressed or uplink.mtu not in (0, now.mtu):
            yield uplink


def appeared(
    record: UplinkRecord, devices: Mapping[int, Device], wanted: tuple[str, ...] | None
) -> list[Device]:
    """Return the NICs connected since the start.

    :param wanted: the names of the NICs to hand over; None for all
    """
    return [
        found
        for index, found in sorted(devices.items())
        if index not in record.known
        and found.is_ethernet
        and found.kind not in _NOT_A_NETWORK
        and not found.master  # otherwise a program in the container bridges it
        and (wanted is None or found.name in wanted)
    ]


def save(run_dir: Path, record: UplinkRecord) -> None:
    """:raises StateError: the run directory can't be written"""
    files.write(run_dir / _FILE, json.dumps(plain(record)).encode())


def discard(run_dir: Path) -> None:
    (run_dir / _FILE).unlink(missing_ok=True)


def load(run_dir: Path) -> UplinkRecord | None:
    """Return the record, or None if there is none.

    :raises StateError: the record can't be read
    """
    return files.load(run_dir / _FILE, _record)


def _record(document: Mapping[str, Any]) -> UplinkRecord:
    return UplinkRecord(
        uplinks=tuple(Uplink(**uplink) for uplink in document["uplinks"]),
        known=tuple(document["known"]),
        shut=tuple(document["shut"]),
        pending=document["pending"],
        pending_slot=document["pending_slot"],
        blocked=tuple(document["blocked"]),
        events=tuple(document["events"]),
        is_user_mode=document["is_user_mode"],
        way_out=WayOut(**document["way_out"]) if document["way_out"] else None,
    )


def with_news(
    record: UplinkRecord,
    troubles: Mapping[int, str],
    shut: Sequence[int],
    devices: Mapping[int, Device],
) -> UplinkRecord:
    """Return the record after a check was logged, without devices that have disappeared.

    :param troubles: the trouble of each uplink, by its index
    :param shut: the indexes of the NICs that have appeared
    """

    def has_carrier(uplink: Uplink) -> bool:
        now = devices.get(uplink.index)
        return now is not None and now.has_carrier

    return evolve(
        record,
        uplinks=tuple(
            evolve(
                uplink,
                logged=troubles[uplink.index],
                had_carrier=uplink.had_carrier or has_carrier(uplink),
            )
            for uplink in record.uplinks
        ),
        known=tuple(index for index in (*record.known, *shut) if index in devices),
        shut=tuple(index for index in (*record.shut, *shut) if index in devices),
    )
