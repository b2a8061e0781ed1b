"""The ports of the guest's addresses that the container keeps."""

from __future__ import annotations

from vmnet.model.ports import PortRange
from vmnet.settings.core import KEEP_PORTS, METRICS
from vmnet.settings.table import Settings


def keep_for_metrics(settings: Settings) -> Settings:
    """Return the settings with the port of VMNET_METRICS among those of VMNET_KEEP_PORTS."""
    endpoint = settings[METRICS]
    if endpoint is None or endpoint.is_loopback:
        return settings
    kept = settings[KEEP_PORTS] or ()
    if any(each.protocol == "tcp" and endpoint.port in each for each in kept):
        return settings
    both = (*kept, PortRange("tcp", endpoint.port, endpoint.port))
    ordered = sorted(both, key=lambda each: (each.protocol, each.first))
    return settings.replaced(KEEP_PORTS, tuple(ordered))
