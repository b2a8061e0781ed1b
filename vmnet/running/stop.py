"""Power off the guest and report the result.

In a container QEMU is PID 1, and its end kills `vmnet stop` before it could print the result. So
vmnet sets QEMU to pause when the guest has powered off (`-action shutdown=pause`, at run time) and
prints the result. A process that outlives `vmnet stop` then makes QEMU quit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vmnet import engine, process, program
from vmnet.errors import GuestError
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.model.base import frozen
from vmnet.running import qmp_session
from vmnet.running.qmp_session import QmpSession
from vmnet.supervision.exit_port import FORCED_STATUS, ending
from vmnet.supervision.guard import PRESS_SECONDS

_PROGRESS_SECONDS = 2.0
_QUIT = (b'{"execute": "quit"}',)


@frozen
class Stopped:
    """The result of stopping a VM.

    :param result: ``powered-off``; ``forced`` if the guest did not power off in time; ``ended`` if
        QEMU ended by itself; ``saved``; ``not-running``
    """

    result: str
    seconds: float


def stop(
    record: VmRecord, timeout: float, progress: Callable[[str], None], *, force: bool = False
) -> Stopped:
    """Press the power button until the guest has powered off, then make QEMU quit.

    QEMU quits after this process, so the caller sees this process's own exit status.

    :param timeout: seconds for the guest to power off
    :param progress: called with a line of progress every two seconds
    :param force: whether QEMU must write back the disks and quit then, as `docker stop` does
    :raises GuestError: the guest has not powered off, without ``force``; or QEMU does not answer
    """
    if record.qmp is None:
        raise GuestError(
            "this VM's hypervisor has no control socket", f"{engine.stop()} ends the container"
        )
    begun = time.monotonic()
    try:
        is_off = _power_off(record.qmp, timeout, progress)
    except GuestError:
        if record.hypervisor.runs:
            raise
        return Stopped("ended", round(time.monotonic() - begun, 1))
    seconds = round(time.monotonic() - begun, 1)
    if not is_off and not force:
        raise GuestError(
            f"the guest did not power off within {timeout:g} s and keeps running",
            "raise `--timeout`, or use `--force` to have QEMU write back the disks and quit",
        )
    if is_off:
        quit_after_exit(record.qmp)
    else:
        _send_after_exit(record.qmp, ending(FORCED_STATUS))
    return Stopped("powered-off" if is_off else "forced", seconds)


def _power_off(path: Path, timeout: float, progress: Callable[[str], None]) -> bool:
    """Return whether the guest has powered off. If so, QEMU is paused, else it is unchanged."""
    with qmp_session.session(path, "SHUTDOWN") as qemu:
        if qemu.ask("query-status")["status"] == "shutdown":
            return True
        qemu.ask("set-action", {"shutdown": "pause"})
        is_off = False
        try:
            is_off = _press(qemu, timeout, progress)
        finally:
            if not is_off:
                qemu.ask("set-action", {"shutdown": "poweroff"})
        return is_off


def _press(qemu: QmpSession, timeout: float, progress: Callable[[str], None]) -> bool:
    """Press the power button repeatedly, and return whether the guest powered off in time."""
    end = time.monotonic() + timeout
    press_at = report_at = 0.0
    if timeout:
        progress(f"pressing the guest's power button; it has {timeout:g} s")
    while (now := time.monotonic()) < end:
        if now >= press_at:
            qemu.ask("system_powerdown")
            press_at = now + PRESS_SECONDS
            report_at = report_at or now + _PROGRESS_SECONDS
        if now >= report_at:
            progress(f"waiting for the guest to power off, {end - now:.0f} s left")
            report_at = now + _PROGRESS_SECONDS
        if qemu.await_event(min(press_at, report_at, end) - now):
            return True
    return False


def quit_after_exit(path: Path) -> None:
    """Have QEMU quit when this process has ended.

    :param path: of QEMU's control socket
    """
    _send_after_exit(path, _QUIT)


def _send_after_exit(path: Path, commands: Sequence[bytes]) -> None:
    """Start a process that sends QEMU its last commands after this process has ended."""
    arguments = (os.getpid(), path, *map(bytes.decode, commands))
    try:
        process.spawn(program.command("vmnet.running.quit_after", *arguments, light=True))
    except OSError as error:
        raise GuestError(
            f"can't start the program that makes QEMU quit: {error.strerror}",
            f"{engine.stop()} ends the container",
        ) from None
