"""Choose the architecture of the guest's processor."""

from __future__ import annotations

import os

from vmnet.errors import MachineError
from vmnet.model.architecture import ARCHITECTURES, Architecture, named
from vmnet.settings import core
from vmnet.settings.table import Settings


def choose(settings: Settings) -> Architecture:
    """Return the architecture of VMNET_ARCH, or else the container's own.

    :raises MachineError: QEMU's machines of the container's own architecture are not known here
    """
    name = settings[core.ARCH]
    own = os.uname().machine
    found = named(own if name == "auto" else name)
    if found is None:
        raise MachineError(
            f"this machine is {own}, for which vmnet has no guests",
            f"set VMNET_ARCH to {' or '.join(known.name for known in ARCHITECTURES)}; QEMU "
            "emulates it",
        )
    return found


def is_foreign(architecture: Architecture) -> bool:
    """Return whether this machine's processor has another architecture, so QEMU must emulate."""
    return architecture.name != os.uname().machine
