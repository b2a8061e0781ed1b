"""Block the NICs of a running VM's container that the VM does not get."""

from __future__ import annotations

import logging

from vmnet.net.device import Device

_log = logging.getLogger(__name__)
REMEDY = "restart the container: vmnet takes over its networks at each start"


def shut(nic: Device) -> str:
    """Block a NIC that the VM does not get, and return a text for :func:`report`."""
    from vmnet.net.filters import drop_all

    text = f"{nic.name} was added, but the VM is not on that network"
    if (obstacle := drop_all.shut(nic.name)) is None:
        return f"{text}: vmnet blocks it"
    return f"{text}; the container itself answers there: {obstacle}"


def report(text: str) -> None:
    """Log that a NIC is blocked, or could not be."""
    _log.warning("%s", text, extra={"event": "network.blocked", "hint": REMEDY})
