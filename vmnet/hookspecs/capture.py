"""Capture: record what the container owns on the network."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.identity import Identity
from vmnet.settings import Settings


@hookspec(firstresult=True)
def vmnet_capture(settings: Settings) -> Identity:
    """Record the container's identity, changing nothing.

    Called on the one strategy that ``VMNET_CAPTURE`` names, first of all.

    :return: every interface to hand over, in the order in which the guest is to have them
    :raises vmnet.errors.CaptureError: there is nothing to hand over, or it can't be handed over
    """
