"""Plan the machine's TPM, which swtpm(8) emulates."""

from __future__ import annotations

from pathlib import Path

from vmnet import process, program
from vmnet.errors import MachineError
from vmnet.model.delivery import Daemon
from vmnet.model.devices import Tpm
from vmnet.planning import capabilities, files
from vmnet.planning.booting import boot_order
from vmnet.planning.booting.boot import Boot
from vmnet.settings import core
from vmnet.settings.table import Settings

_FOLDER = "tpm"
_OWN_USER = capabilities.needed_by(capabilities.TPM)
_REACHING = ("DAC_OVERRIDE",)


def plan(settings: Settings, boot: Boot) -> Tpm:
    """Return the TPM of VMNET_TPM, with its state in the state folder.

    With an ephemeral disk, the TPM is new at each start, too.

    :raises MachineError: swtpm is not installed, or the state can't be kept
    """
    swtpm = process.find("swtpm")
    if swtpm is None:
        raise MachineError(
            "VMNET_TPM=on needs swtpm, which is not installed",
            "the image contains it; elsewhere `apt-get install swtpm`",
        )
    run_dir = settings[core.RUN_DIR]
    is_kept = not boot_order.is_ephemeral(boot.devices)
    state = (settings[core.DISK_STATE] if is_kept else run_dir) / _FOLDER
    files.require_kept(state.parent, state, "the state of the TPM")
    socket, pidfile, log = (run_dir / f"swtpm.{kind}" for kind in ("sock", "pid", "log"))
    user = "own" if all(map(capabilities.has, _OWN_USER)) else "root"
    words = (swtpm, pidfile, socket, state, log, "kept" if is_kept else "new", user)
    argv = program.command("vmnet.supervision.swtpm", *words, light=True)
    needed = _REACHING if user == "root" and _is_of_other_user(state) else ()
    return Tpm(socket, Daemon("swtpm", argv, pidfile, log, capabilities=needed))


def _is_of_other_user(state: Path) -> bool:
    """Return whether an earlier start has given the state to another user than root."""
    try:
        return state.stat().st_uid != 0
    except FileNotFoundError:
        return False
