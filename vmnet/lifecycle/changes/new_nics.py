"""Block the NICs of a running VM's container that the VM does not get."""

from __future__ import annotations

import logging

from vmnet.net.device import Device

_log = logging.getLogger(__name__)
REMEDY = "restart the container: vmnet takes over its networks at each start"


def shut(nic: Device) -> None:
    """Block a NIC that the VM does not get."""
    from vmnet.net.filters import drop_all

    text = f"{nic.name} was added, but the VM is not on that network"
    if (obstacle := drop_all.shut(nic.name)) is None:
        text += ": vmnet blocks it"
    else:
        text += f"; the container itself answers there: {obstacle}"
    _log.warning("%s", text, extra={"event": "network.blocked", "hint": REMEDY})
