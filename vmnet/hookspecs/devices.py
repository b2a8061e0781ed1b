"""Devices: add devices to the machine."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.model.devices import Device
from vmnet.model.identity import Identity
from vmnet.model.wiring import Wiring
from vmnet.settings.table import Settings


@hookspec
def vmnet_devices(settings: Settings, identity: Identity, wiring: Wiring) -> tuple[Device, ...]:
    """Contribute devices to the machine, such as a seed ISO.

    Called for each strategy that ``VMNET_IPAM`` names, then for each plugin that ``VMNET_DEVICES``
    names, in that order, after every delivery has been planned. A device's file may be a file of
    the plugin's own delivery.

    :return: the devices; None means none
    """
