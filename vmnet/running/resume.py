"""Load what `vmnet stop --save` has saved into the VM that has just been started.

QEMU has already begun to boot. This does no harm: what the guest does until then is discarded with
the memory, and what it writes with the disks, to which the snapshot belongs.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from vmnet.errors import GuestError
from vmnet.lifecycle import vm_record
from vmnet.lifecycle.resume import KEPT
from vmnet.lifecycle.saved_vm import SNAPSHOT
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.running import guest_clock, qmp_session, save, snapshot_lock, snapshots
from vmnet.running.qmp_session import QmpSession
from vmnet.supervision import program_log

_log = logging.getLogger(__name__)
_SECONDS, _POLL_SECONDS = 60.0, 0.02


def main(run_dir: str, pid: str, version: str) -> None:
    """Load the saved state: the program that a start leaves behind.

    :param pid: of the process that becomes QEMU
    :param version: of the QEMU that saved the state
    """
    with program_log.logged():
        try:
            record = _await_qemu(Path(run_dir), int(pid))
            if record is not None:
                with snapshot_lock.locked(Path(run_dir)):
                    resume(record, version)
        except GuestError as error:
            _log.error(
                "the guest boots, and is not resumed as it was saved: %s",
                error.message,
                extra={"event": "guest.not_resumed", "hint": KEPT},
            )


def _await_qemu(run_dir: Path, pid: int) -> VmRecord | None:
    """Return the record of this start when QEMU answers, or None if the start fails.

    :raises GuestError: QEMU does not answer in time
    """
    end = time.monotonic() + _SECONDS
    while (record := vm_record.load(run_dir)) is not None and record.hypervisor.pid == pid:
        assert record.qmp is not None  # or the VM could not have been saved
        try:
            with qmp_session.session(record.qmp):
                return record
        except GuestError:
            if time.monotonic() > end:
                raise
            time.sleep(_POLL_SECONDS)
    return None


def resume(record: VmRecord, version: str) -> None:
    """Load the saved state, and delete it. If that fails, the guest boots.

    :raises GuestError: the state can't be loaded
    """
    assert record.qmp is not None
    with qmp_session.session(record.qmp) as qemu:
        try:
            qemu.ask("stop", seconds=snapshots.SECONDS)
            _load(qemu, version)
        except GuestError:
            qemu.ask("system_reset", seconds=snapshots.SECONDS)
            qemu.ask("cont", seconds=snapshots.SECONDS)
            raise
        qemu.ask("cont", seconds=snapshots.SECONDS)
        _log.info("the guest is resumed as it was saved", extra={"event": "guest.resumed"})
        _delete(qemu)
    guest_clock.set_right(record)


def _delete(qemu: QmpSession) -> None:
    try:
        snapshots.delete(qemu, SNAPSHOT)
    except GuestError as error:
        _log.warning(
            "the saved state, which is no longer needed, is not deleted: %s",
            error.message,
            extra={
                "event": "snapshot.not_deleted",
                "hint": f"`vmnet snapshot delete {SNAPSHOT}` tries it again",
            },
        )


def _load(qemu: QmpSession, version: str) -> None:
    if (now := save.describe_version(qemu.ask("query-version"))) != version:
        raise GuestError(f"QEMU was {version.strip()} and is {now.strip()}", KEPT)
    snapshots.load(qemu, SNAPSHOT)
