"""The folder of VMNET_DISK_STATE, in which a VM keeps what must survive it.

A VM locks the folder as long as it runs. So of two starts at the same moment, one is refused before
it could replace the overlay or the variables of the other's VM.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.model.base import frozen
from vmnet.model.devices import Device, Disk
from vmnet.model.firmware import Firmware
from vmnet.planning.booting import boot_order
from vmnet.settings import core
from vmnet.settings.table import Settings

_LOCK = "lock"


@frozen
class StateFolder:
    """The folder, and whether the machine keeps anything there that no other VM may use."""

    path: Path
    is_used: bool = False

    @property
    def lock(self) -> Path:
        """The file whose lock a running VM has."""
        return self.path / _LOCK


def of(
    settings: Settings, devices: Sequence[Device], firmware: Firmware | None = None
) -> StateFolder:
    """Return the folder of a machine with these devices."""
    path = settings[core.DISK_STATE]
    overlays = (device for device in devices if isinstance(device, Disk) and device.base)
    has_overlay = any(disk.path.parent == path for disk in overlays)
    variables = firmware.variables if firmware else None
    has_variables = variables is not None and variables.path.parent == path
    has_tpm = settings[core.TPM] and not boot_order.is_ephemeral(devices)
    return StateFolder(path, has_overlay or has_variables or has_tpm)


def require_free(folder: StateFolder) -> str:
    """Check that no other VM has locked the folder; return what was found.

    :raises MachineError: another VM has
    """
    from vmnet.planning.storage.image import lock

    try:
        is_held = lock.is_held(folder.lock)
    except FileNotFoundError:
        is_held = False
    except OSError as error:
        raise unusable(folder, error) from None
    if is_held:
        raise in_use(folder)
    return f"no other VM uses {folder.path}"


def in_use(folder: StateFolder) -> MachineError:
    """Return the error for a folder that another VM has locked."""
    from vmnet.planning.storage.image import users

    user = users.described(folder.lock)
    return MachineError(
        f"VMNET_DISK_STATE={folder.path} is in use by another VM" + (f": {user}" if user else ""),
        "stop that VM first, or set VMNET_DISK_STATE to a folder of its own for each VM",
    )


def unusable(folder: StateFolder, error: OSError) -> MachineError:
    """Return the error for a folder in which nothing can be written."""
    return MachineError(
        f"VMNET_DISK_STATE={folder.path} can't be used: {error.strerror}",
        "mount it writable, with room, or set VMNET_DISK_STATE to another folder",
    )
