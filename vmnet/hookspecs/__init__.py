"""The hook specifications, one module a stage, in the order in which they are called."""

from vmnet.hookspecs import bridge, capture, devices, forwarder, ipam, launch, settings
from vmnet.hookspecs.markers import hookimpl, hookspec

STAGES = (settings, capture, ipam, bridge, forwarder, devices, launch)

# Major and minor version of all that plugins rely on; docs/hooks.md tells when each is raised.
CONTRACT = (1, 0)

__all__ = ["CONTRACT", "STAGES", "hookimpl", "hookspec"]
