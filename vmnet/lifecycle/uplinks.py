"""The container's NICs of a running machine: whether each still is where the start put it.

What a start had is on record in ``uplinks.json``, and there is also what was last said of it, so
that each change is said once. :mod:`vmnet.running.uplinks` writes that while the machine runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from vmnet.lifecycle import files
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.noun import Noun, noun
from vmnet.serial import plain

if TYPE_CHECKING:
    from vmnet.wiring import Wiring

_FILE = "uplinks.json"
# Made in the container, by the kernel or for a purpose; no engine connects a network by one.
_NOT_A_NETWORK = frozenset(("bridge", "tun", "dummy"))


@noun
class Uplink(Noun):
    """A NIC that was handed over.

    :param index: its number, and that of its bridge
    :param had_carrier: whether it has had one, as hardware has seconds after it was set up: what
        never had one is not missed
    :param said: the trouble that the log has told last; empty for none
    """

    name: str
    index: int
    bridge: str
    bridge_index: int
    had_carrier: bool
    said: str = ""


@noun
class Record(Noun):
    """The network devices of a start.

    :param known: the numbers of all that there were, and of those that have been told since
    :param shut: the numbers of those that have come since, and carry nothing
    """

    uplinks: tuple[Uplink, ...]
    known: tuple[int, ...]
    shut: tuple[int, ...] = ()


def describe(wiring: Wiring, devices: Mapping[int, Device], late: Collection[int] = ()) -> Record:
    """The record of a start whose bridges are built.

    :param late: the numbers of the devices that came while it was planned, and are in no plan
    """
    named = {one.name: one for one in devices.values()}
    planned = {named[port.uplink].index for port in wiring.ports if port.uplink in named}
    return Record(
        uplinks=tuple(
            Uplink(
                name=port.uplink,
                index=named[port.uplink].index,
                bridge=port.bridge,
                bridge_index=named[port.bridge].index,
                had_carrier=named[port.uplink].has_carrier,
            )
            for port in wiring.ports
            if port.uplink in named and port.bridge in named
        ),
        known=tuple(sorted(index for index in devices if index not in late or index in planned)),
    )


def trouble(uplink: Uplink, devices: Mapping[int, Device]) -> str:
    """What is wrong with a NIC; empty if nothing is."""
    now = devices.get(uplink.index)
    if now is None:
        return f"{uplink.name} is gone, and the VM is off its network"
    if now.master != uplink.bridge_index:
        return f"{uplink.name} is no longer in {uplink.bridge}"
    if not now.is_up:
        return f"{uplink.name} is down"
    if uplink.had_carrier and not now.has_carrier:
        return f"{uplink.name} has no carrier: its other end is down, or gone"
    return ""


def troubles(run_dir: Path) -> list[str]:
    """What is wrong with the NICs of the machine that runs.

    :raises StateError: the record can't be read
    """
    record = load(run_dir)
    if record is None:
        return []
    try:
        now = device.devices()
    except OSError as error:
        return [str(error.strerror or error)]
    return [text for one in record.uplinks if (text := trouble(one, now))]


def newcomers(
    record: Record, devices: Mapping[int, Device], wanted: tuple[str, ...] | None
) -> list[Device]:
    """Networks that were connected since the start, which a start would hand to the VM.

    :param wanted: the names that are handed over; None for all
    """
    return [
        one
        for index, one in sorted(devices.items())
        if index not in record.known
        and one.is_ethernet
        and one.kind not in _NOT_A_NETWORK
        and not one.master  # else a program in the container bridges it
        and (wanted is None or one.name in wanted)
    ]


def save(run_dir: Path, record: Record) -> None:
    """:raises StateError: the run directory can't be written"""
    files.write(run_dir / _FILE, json.dumps(plain(record)).encode())


def discard(run_dir: Path) -> None:
    (run_dir / _FILE).unlink(missing_ok=True)


def load(run_dir: Path) -> Record | None:
    """The record; None where there is none.

    :raises StateError: it can't be read
    """
    return files.load(run_dir / _FILE, _record)


def _record(document: Mapping[str, Any]) -> Record:
    return Record(
        uplinks=tuple(Uplink(**uplink) for uplink in document["uplinks"]),
        known=tuple(document["known"]),
        shut=tuple(document["shut"]),
    )


def with_news(
    record: Record, said: Mapping[int, str], shut: Sequence[int], devices: Mapping[int, Device]
) -> Record:
    """The record when the log has told something; what is no longer there is forgotten.

    :param said: of each NIC, by its number
    :param shut: the numbers of those that have come
    """

    def has_carrier(uplink: Uplink) -> bool:
        now = devices.get(uplink.index)
        return now is not None and now.has_carrier

    return evolve(
        record,
        uplinks=tuple(
            evolve(
                one,
                said=said[one.index],
                had_carrier=one.had_carrier or has_carrier(one),
            )
            for one in record.uplinks
        ),
        known=tuple(one for one in (*record.known, *shut) if one in devices),
        shut=tuple(one for one in (*record.shut, *shut) if one in devices),
    )
