"""The hook specifications: one module for each stage."""

from vmnet.hookspecs import bridge, capture, devices, forwarder, ipam, launch, settings
from vmnet.hookspecs.markers import hookimpl, hookspec

# In calling order.
STAGES = (settings, capture, ipam, bridge, forwarder, devices, launch)

# Major and minor version of everything plugins rely on. docs/hooks.md states when each is raised.
CONTRACT = (1, 0)

__all__ = ["CONTRACT", "STAGES", "hookimpl", "hookspec"]
