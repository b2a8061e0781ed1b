"""The responder is nobody; where it has an address to change, root may come back for that."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY = 65534


def shed() -> None:
    """Be nobody for good, without any capability: they go with the user (capabilities(7))."""
    _become(os.setuid)


def put_aside() -> None:
    """Be nobody until :func:`regain`."""
    _become(os.seteuid)


def regain() -> None:
    """Be root again, with all that it may do here."""
    os.seteuid(0)


def _become(set_user: Callable[[int], None]) -> None:
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        set_user(_NOBODY)
    except OSError:  # no SETUID here: then root has few privileges to lose
        pass
