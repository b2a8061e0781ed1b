"""Have the guest power off, and tell what came of it.

In a container QEMU is PID 1, and with it ends whoever asked, before it could say anything. So QEMU
is told to pause when the guest has powered off (`-action shutdown=pause`, at run time), the result
is told, and a process that outlives ours has QEMU quit once ours has ended.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vmnet import process
from vmnet.errors import GuestError
from vmnet.lifecycle.guard import FORCE, PRESS_SECONDS
from vmnet.lifecycle.launched import Launched
from vmnet.noun import Noun, noun
from vmnet.running import finish, monitor
from vmnet.running.monitor import Monitor

_TELL_SECONDS = 2.0
_QUIT = (b'{"execute": "quit"}',)


@noun
class Stopped(Noun):
    """How a machine was stopped.

    :param result: ``powered-off``; ``forced`` where the guest did not within the time; ``ended``
        where QEMU ended by itself meanwhile
    """

    result: str
    seconds: float


def stop(
    machine: Launched, timeout: float, tell: Callable[[str], None], *, force: bool = False
) -> Stopped:
    """Press the power button until the guest has powered off, then have QEMU end.

    QEMU ends after this process has, so the exit status is the caller's own.

    :param timeout: seconds that the guest has
    :param tell: is given a line now and then, as long as it takes
    :param force: have QEMU write back the disks and quit then, as `docker stop` does
    :raises GuestError: the guest has not powered off and is not forced to; or QEMU does not answer
    """
    if machine.qmp is None:
        raise GuestError(
            "this VM's hypervisor has no control socket", "`docker stop NAME` stops the container"
        )
    begun = time.monotonic()
    try:
        is_off = _power_off(machine.qmp, timeout, tell)
    except GuestError:
        if machine.machine.runs:
            raise
        return Stopped("ended", round(time.monotonic() - begun, 1))
    seconds = round(time.monotonic() - begun, 1)
    if not is_off and not force:
        raise GuestError(
            f"the guest has not powered off within {timeout:g} s, and runs on",
            "`--timeout` gives it longer; `--force` has QEMU write back the disks and quit then",
        )
    _when_we_have_ended(machine.qmp, _QUIT if is_off else FORCE)
    return Stopped("powered-off" if is_off else "forced", seconds)


def _power_off(path: Path, timeout: float, tell: Callable[[str], None]) -> bool:
    """Whether the guest has powered off; QEMU is then paused, and else as it was."""
    with monitor.session(path, "SHUTDOWN") as qemu:
        if qemu.ask("query-status")["status"] == "shutdown":
            return True
        qemu.ask("set-action", {"shutdown": "pause"})
        is_off = False
        try:
            is_off = _press(qemu, timeout, tell)
        finally:
            if not is_off:
                qemu.ask("set-action", {"shutdown": "poweroff"})
        return is_off


def _press(qemu: Monitor, timeout: float, tell: Callable[[str], None]) -> bool:
    end = time.monotonic() + timeout
    press_at = tell_at = 0.0
    if timeout:
        tell(f"pressing the guest's power button; it has {timeout:g} s")
    while (now := time.monotonic()) < end:
        if now >= press_at:
            qemu.ask("system_powerdown")
            press_at = now + PRESS_SECONDS
            tell_at = tell_at or now + _TELL_SECONDS
        if now >= tell_at:
            tell(f"waiting for the guest to power off, {end - now:.0f} s left")
            tell_at = now + _TELL_SECONDS
        if qemu.await_event(min(press_at, tell_at, end) - now):
            return True
    return False


def _when_we_have_ended(path: Path, commands: Sequence[bytes]) -> None:
    """Leave a process behind that gives QEMU its last commands."""
    words = (os.getpid(), path, *map(bytes.decode, commands))
    process.spawn((sys.executable, "-I", "-S", finish.__file__, *map(str, words)))
