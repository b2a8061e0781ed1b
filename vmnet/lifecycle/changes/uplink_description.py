"""Describe a VM's uplinks for :mod:`vmnet.lifecycle.changes.uplink_record`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vmnet.lifecycle.changes import user_mode, way_out
from vmnet.lifecycle.changes.uplink_record import Uplink, UplinkRecord
from vmnet.model.wiring import Bridge, Port, Redirect, UserMode, Wiring
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
