"""Capture: record what the container owns on the network."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.model.identity import Identity
from vmnet.settings.table import Settings


@hookspec(firstresult=True)
def vmnet_capture(settings: Settings) -> Identity:
    """Record the container's identity, without changing anything.

    Called before all other stages, for the strategy that ``VMNET_CAPTURE`` names.

    :return: the identity, with every interface to hand over in the order of the guest's NICs
    :raises vmnet.errors.CaptureError: there is nothing to hand over, or it can't be handed over
    """
