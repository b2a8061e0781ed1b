"""Decide whether vmnet puts the network back when the VM ends.

With `docker run --network container:NAME` and in a pod, other containers use the network namespace.
While the VM runs, it has their addresses. When the VM ends, they need the network again.
"""

from __future__ import annotations

from vmnet.net import inet_sockets
from vmnet.settings.core import RESTORE_NETWORK
from vmnet.settings.table import Settings


def must_be_restored(settings: Settings) -> bool:
    """Return whether to restore the network. A program without a TCP or UDP socket is not found."""
    requested = settings[RESTORE_NETWORK]
    return requested == "on" or (requested == "auto" and inet_sockets.is_used())
