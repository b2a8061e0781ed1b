"""Decide whether vmnet puts the network back when the VM ends.

With `docker run --network container:NAME` and in a pod, other containers use the network namespace.
While the VM runs, it has their addresses. When the VM ends, they need the network again.
"""

from __future__ import annotations

from vmnet.net import sharing
from vmnet.settings.core import RESTORE_NETWORK
from vmnet.settings.table import Settings


def reason_to_restore(settings: Settings) -> str:
    """Return why to restore the network; empty if vmnet leaves it as it is."""
    requested = settings[RESTORE_NETWORK]
    if requested == "on":
        return f"{RESTORE_NETWORK.name}=on"
    found = sharing.evidence() if requested == "auto" else ""
    consequence = "and have no network while the VM runs"
    return found and f"other programs use this network namespace ({found}), {consequence}"
