"""The hook specifications, one module a stage, in the order in which they are called."""

from vmnet.hookspecs import bridge, capture, devices, forwarder, ipam, launch, settings
from vmnet.hookspecs.markers import hookimpl, hookspec

STAGES = (settings, capture, ipam, bridge, forwarder, devices, launch)

__all__ = ["STAGES", "hookimpl", "hookspec"]
