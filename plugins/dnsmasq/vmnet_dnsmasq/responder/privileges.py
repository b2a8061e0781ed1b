"""Run as the user nobody; become root again only to change an address."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY = 65534


def shed() -> None:
    """Become the user nobody for good, which also drops all capabilities (capabilities(7))."""
    _become(os.setuid)


def put_aside() -> None:
    """Become the user nobody until :func:`regain`."""
    _become(os.seteuid)


def regain() -> None:
    """Become root again, with its capabilities."""
    os.seteuid(0)


def _become(set_user: Callable[[int], None]) -> None:
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        set_user(_NOBODY)
    except OSError:  # no SETUID: then root has few privileges to drop
        pass
