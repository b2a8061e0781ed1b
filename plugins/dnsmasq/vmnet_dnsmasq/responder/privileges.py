"""The responder is nobody; while it has an address to give up, root may come back for that."""

from __future__ import annotations

import os

_NOBODY = 65534


def shed(for_good: bool) -> None:
    """Be nobody, without any capability: they go with the user (capabilities(7))."""
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        if for_good:
            os.setuid(_NOBODY)
        else:
            os.seteuid(_NOBODY)
    except OSError:  # no SETUID here: then root has few privileges to lose
        pass


def regain() -> None:
    """Be root again, with all that it may do here."""
    os.seteuid(0)
