"""Find the VM that runs in this container."""

from __future__ import annotations

from collections.abc import Mapping

from vmnet import engine
from vmnet.errors import GuestError
from vmnet.lifecycle import vm_record
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.settings.core import RUN_DIR
from vmnet.settings.table import value


def find_vm(environ: Mapping[str, str]) -> VmRecord:
    """Return the record of the running VM.

    :raises GuestError: no VM runs here
    """
    run_dir = value(environ, RUN_DIR)
    found = vm_record.load(run_dir)
    if found is None:
        raise GuestError(
            f"no VM runs here: {run_dir} has no record of a VM",
            "run the command in the VM's container, as root: "
            f"{engine.command('exec', 'vmnet', '…')}",
        )
    return found
