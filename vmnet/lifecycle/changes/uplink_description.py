"""Describe a VM's uplinks for :mod:`vmnet.lifecycle.changes.uplink_record`."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

from vmnet.lifecycle.changes import user_mode, way_out
from vmnet.lifecycle.changes.uplink_record import Uplink, UplinkRecord
from vmnet.model.wiring import Bridge, Custom, Port, Redirect, Tap, UserMode, Wiring
from vmnet.net.device import Device


def describe(
    wiring: Wiring, devices: Mapping[int, Device], late: Collection[int] = ()
) -> UplinkRecord:
    """Return the record of a start that has built its bridges.

    :param late: the indexes of devices that appeared during planning
    """
    by_name = {device.name: device for device in devices.values()}
    planned = {by_name[port.uplink].index for port in wiring.ports if port.uplink in by_name}
    return UplinkRecord(
        uplinks=tuple(
            Uplink(
                name=port.uplink,
                index=by_name[port.uplink].index,
                bridge=bridge,
                bridge_index=by_name[bridge].index if bridge else 0,
                had_carrier=by_name[port.uplink].has_carrier,
                tap=(tap := _redirected_to(port)),
                tap_index=by_name[tap].index if tap in by_name else 0,
                mtu=by_name[port.uplink].mtu,
                most_mtu=port.mtu,
                has_addresses=_has_addresses(port),
                configured=_configured(port, by_name[port.uplink]),
            )
            for port, bridge in zip(wiring.ports, map(_bridge, wiring.ports), strict=True)
            if port.uplink in by_name and (not bridge or bridge in by_name)
        ),
        known=tuple(sorted(index for index in devices if index not in late or index in planned)),
        is_user_mode=bool(wiring.ports) and all(port.tap is None for port in wiring.ports),
        way_out=way_out.plan(wiring),
    )


def made_for(
    wiring: Wiring, uplink: str, before: Container[int], devices: Mapping[int, Device]
) -> tuple[int, ...]:
    """Return the indexes of the new devices that connect an uplink to the running VM.

    An engine may add another NIC at the same time, which is none of them.

    :param before: the indexes of the devices that existed before
    """
    port = next(port for port in wiring.ports if port.uplink == uplink)
    new = (device for index, device in devices.items() if index not in before)
    if isinstance(port.path, Custom):  # vmnet does not know the names of its devices
        return tuple(device.index for device in new)
    own = port.tap, port.local, port.way_out
    names = {part.name if isinstance(part, Tap) else part.device for part in own if part}
    return tuple(device.index for device in new if device.name in names)


def _bridge(port: Port) -> str:
    """Return the name of a port's bridge, or an empty string."""
    is_bridged = isinstance(port.path, Bridge)
    return port.local.device if is_bridged and port.local is not None else ""


def _has_addresses(port: Port) -> bool:
    path = port.path
    return isinstance(path, Redirect) and path.shares_mac


def _configured(port: Port, nic: Device) -> str:
    return user_mode.configuration(nic) if isinstance(port.path, UserMode) else ""


def _redirected_to(port: Port) -> str:
    """Return the name of the tap to which a port is redirected, or an empty string."""
    return port.tap.name if isinstance(port.path, Redirect) and port.tap is not None else ""
