"""Make the machine's own copy of UEFI's variables before the start changes the network."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from vmnet.errors import MachineError
from vmnet.lifecycle import files, state_folder
from vmnet.model.firmware import FirmwareVariables
from vmnet.planning.storage.image import lock

_log = logging.getLogger(__name__)


def prepare(variables: FirmwareVariables, undo: ExitStack) -> None:
    """Copy the template, unless a kept copy exists. The undo removes a copy that was made now.

    :raises MachineError: the template can't be read, another VM uses the copy, or it can't be
        written to the state folder
    :raises StateError: it can't be written to the run directory
    """
    if variables.kept and variables.path.exists():
        if lock.is_used(variables.path):
            raise MachineError(
                f"another VM uses the variables of UEFI in {variables.path}",
                "stop that VM first, or set VMNET_DISK_STATE to a folder of its own for each VM",
            )
        return
    try:
        content = variables.template.read_bytes()
    except OSError as error:
        raise MachineError(
            f"{variables.template} can't be read: {error.strerror}",
            "it belongs to the firmware's package; install the package again",
        ) from None
    (state_folder if variables.kept else files).write(variables.path, content)
    undo.callback(variables.path.unlink, missing_ok=True)
    level = logging.INFO if variables.kept else logging.DEBUG
    _log.log(level, "created %s", variables.path, extra={"event": "firmware.created"})
