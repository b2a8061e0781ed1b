"""The firmware that a machine starts with. Pure data."""

from __future__ import annotations

from pathlib import Path

from vmnet.model.base import frozen

_KINDS = {
    "bios": "BIOS",
    "uefi": "UEFI",
    "secureboot": "UEFI with secure boot",
    "own": "the user's own",
    "none": "none",
}


@frozen
class FirmwareVariables:
    """A machine's own copy of UEFI's variables: boot entries, and the keys of secure boot.

    :param template: the file that a start copies if there is no copy yet
    :param kept: whether a start keeps the copy that it finds, instead of making it again
    """

    path: Path
    template: Path
    kept: bool = True


@frozen
class Firmware:
    """A machine's firmware.

    :param kind: ``bios``, ``uefi``, ``secureboot``, ``image`` for a file of the user, ``own`` if
        the user's arguments for the hypervisor set it, or ``none`` if the hypervisor boots a kernel
        without firmware
    :param reason: why it was chosen
    :param code: the file with the firmware; None for the hypervisor's own
    :param variables: None if the firmware's file contains them
    :param smm: it needs the processor's system management mode
    """

    kind: str = "bios"
    reason: str = "default"
    code: Path | None = None
    variables: FirmwareVariables | None = None
    smm: bool = False

    @property
    def described(self) -> str:
        """The kind in words, why it was chosen, and where its variables are."""
        text = f"{_KINDS.get(self.kind, str(self.code))} ({self.reason})"
        if self.variables is None:
            return text
        kept = "variables" if self.variables.kept else "variables, which end with the VM,"
        return f"{text}, {kept} in {self.variables.path}"
