"""The hook specifications: one module for each stage, listed in :mod:`vmnet.hooks.stages`."""

from vmnet.hookspecs.markers import hookimpl, hookspec

# Major and minor version of everything plugins rely on. docs/hooks.md states when each is raised.
CONTRACT = (1, 0)

__all__ = ["CONTRACT", "hookimpl", "hookspec"]
