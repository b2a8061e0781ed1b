"""Have a start resume the VM that `vmnet stop --save` has saved, or report why it boots."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from vmnet import process, program
from vmnet.errors import LaunchError, StateError
from vmnet.lifecycle import saved_vm
from vmnet.lifecycle.vm_record import GuestNic
from vmnet.model.machine import Command
from vmnet.supervision.signals import STOP_SIGNALS

_log = logging.getLogger(__name__)
KEPT = (
    f"the saved state remains as the snapshot {saved_vm.SNAPSHOT}: `vmnet snapshot restore "
    f"{saved_vm.SNAPSHOT}` returns to it and discards what the guest writes now, `vmnet snapshot "
    f"delete {saved_vm.SNAPSHOT}` discards it"
)


def prepare(run_dir: Path, command: Command, nics: Sequence[GuestNic], undo: ExitStack) -> None:
    """Start the program that loads the saved state when QEMU runs, if the machine is the same.

    :raises LaunchError: the program can't be started
    """
    try:
        saved = saved_vm.take(run_dir)
    except StateError as error:
        _log.warning(
            "the guest boots: %s", error.message, extra={"event": "guest.not_resumed", "hint": KEPT}
        )
        return
    if saved is None:
        return
    undo.callback(saved_vm.save, run_dir, saved)  # for the next start
    if differences := list(saved_vm.differences(saved, command, nics)):
        _log.warning(
            "the guest boots, and is not resumed as it was saved: %s",
            "; ".join(differences),
            extra={"event": "guest.not_resumed", "hint": KEPT},
        )
        return
    argv = program.command("vmnet.running.resume", run_dir, os.getpid(), saved.qemu)
    try:
        pid = process.spawn(argv, STOP_SIGNALS)
    except OSError as error:
        raise LaunchError(
            f"can't start the program that resumes the VM: {error.strerror}", KEPT
        ) from None
    undo.callback(os.killpg, pid, signal.SIGKILL)
