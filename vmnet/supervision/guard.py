"""The guard: press the guest's power button when the hypervisor receives a stop signal.

`docker stop` sends SIGTERM to PID 1, which is QEMU, and QEMU would end at once, as if the guest's
power failed. So vmnet blocks the stop signals before it executes QEMU: a blocked signal survives
the exec, stays pending and is visible in /proc/PID/status. The guard, which is started before the
exec, finds it there. It presses the power button through QMP until QEMU ends, and at the deadline
makes QEMU write back its disks and quit. It also logs why QEMU ends, resumes the guest after a full
disk (:mod:`vmnet.supervision.disk_errors`), sets its clock right after a pause
(:mod:`vmnet.supervision.resumption`), and logs that there was nothing to boot
(:mod:`vmnet.supervision.firmware`). At a panic of the guest QEMU pauses, and the guard logs the
panic and then ends QEMU: if QEMU ended by itself as PID 1, the kernel would kill the guard as well.

It sleeps until a signal arrives (:mod:`vmnet.supervision.alarm`), or QEMU sends a message or ends.
If the alarm has never fired, it checks twice a second. It handles signals and deadlines before
QEMU's messages, whose rate the guest controls (:mod:`vmnet.supervision.qmp`).

Without a guard no stop signal has an effect. So if the guard is killed, for example when memory
runs out, the keeper (:mod:`vmnet.supervision.keeper`) starts a new one. The guard in turn restarts
the keeper. The guard has no capabilities, so a keeper that it starts has none either.
"""

from __future__ import annotations

import os
import select
import time

from . import process_name
from .clock import Clock
from .disk_errors import QUERY, RESUME, DiskErrors
from .exit_port import FORCED_STATUS, PANIC_STATUS, ending
from .firmware import READ, Firmware
from .hypervisor import Hypervisor
from .keeper_watch import KeeperWatch
from .log import Log
from .qmp import Connection
from .resumption import Resumption
from .signals import ALARM_SIGNAL, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PRESS_SECONDS = 3.0
_POLL_SECONDS = 0.5
# The guard still polls with an alarm that works, because a missed signal would cost data.
_POLL_SECONDS_WITH_ALARM = 5.0
_CONNECT_SECONDS = 0.1, 5.0
# No flood may close the connection: writing back the disks takes time, and QEMU drops the commands
# that follow if the guard disconnects.
_FORCE_SECONDS = float("inf")
_MAX_LINES = 100
_PRESS = (b'{"execute": "system_powerdown"}',)
# By QAPI's ShutdownCause: the event, and its text.
_ENDS = {
    "guest-shutdown": ("guest.powered_off", "the guest powered off"),
    "guest-reset": ("guest.rebooted", "the guest rebooted, and QEMU quits instead"),
    "host-qmp-quit": ("qemu.quit", "QEMU quits, as a client of its control socket requested"),
    "host-signal": ("qemu.quit", "QEMU quits because of a signal"),
}


class Alarm:
    """Becomes readable when a signal arrives at the hypervisor.

    :ivar is_trusted: whether it has fired at least once
    """

    def __init__(self, fd: int) -> None:
        # The signal is blocked, so it stays pending for the guard. The kernel reports an event only
        # if a signal is pending for the process that waits.
        os.kill(os.getpid(), ALARM_SIGNAL)
        self._epoll = select.epoll.fromfd(fd)
        self.is_trusted = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def acknowledge(self) -> None:
        """Consume the event, so that only the next signal makes the alarm readable."""
        if self._epoll.poll(0):
            self.is_trusted = True


class Guard:
    """Waits for a stop signal and stops the hypervisor.

    :param deadline: seconds from the signal to the forced stop, without pauses of the container
    :param remedy: how to give the guest more time
    :param run_dir: the run directory, which contains the control socket
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        qmp: Connection,
        alarm: Alarm | None,
        keeper: KeeperWatch,
        resumption: Resumption,
        deadline: float,
        remedy: str,
        log: Log,
        run_dir: str,
    ) -> None:
        self._hypervisor, self._qmp, self._alarm = hypervisor, qmp, alarm
        self._keeper, self._resumption, self._log = keeper, resumption, log
        self._deadline, self._remedy = deadline, remedy
        self._clock, self._disks = Clock(), DiskErrors(log, run_dir)
        self._firmware = Firmware(self._clock.now())
        self._retry = _CONNECT_SECONDS[0]
        self._force_at = self._press_at = 0.0
        self._is_forced = self._is_force_sent = self._is_paused = self._is_off = False
        self._has_panicked = self._is_flood_logged = False
        self._lines_left = _MAX_LINES

    def run(self) -> None:
        """Guard the hypervisor until it ends."""
        while not self._hypervisor.has_ended():
            self._check_signals()
            connected = self._qmp.connect(also_after_flood=self._has_command_due())
            if self._force_at:
                self._send_due_command(connected)
            if connected and not self._is_forced and self._disks.must_resume(self._clock.now()):
                self._qmp.send(RESUME)
            if connected and not self._force_at and self._firmware.must_read(self._clock.now()):
                self._qmp.send(READ)
            self._handle(self._qmp.messages())
            self._end_after_panic()
            self._log_flood()
            now = self._clock.now()
            due = self._resumption.check(now) - now
            self._sleep(min(self._keeper.check(), due, self._seconds_to_sleep(connected)))
        self._handle(self._qmp.last_messages())

    def _check_signals(self) -> None:
        if not self._force_at and (number := self._hypervisor.pending()):
            name = signal_name(number)
            text = f"{name}: pressing the guest's power button"
            self._log.info(text, event="guest.stopping")
            self._press_at = self._clock.now()
            self._force_at = self._press_at + self._deadline

    def _has_command_due(self) -> bool:
        due = self._force_at if self._is_forced else min(self._press_at, self._force_at)
        return bool(self._force_at) and not self._is_force_sent and self._clock.now() >= due

    def _send_due_command(self, connected: bool) -> None:
        now = self._clock.now()
        if now >= self._force_at and not self._is_forced:
            self._is_forced = True
            text = f"the guest did not power off within {self._deadline:g} s"
            text += ": forcing QEMU to quit"
            self._log.warning(text, self._remedy, event="guest.stop_forced")
            if not connected:
                text = f"can't connect to QEMU's control socket: {self._qmp.obstacle}"
                self._log.error(text, event="qemu.unreachable")
        if self._is_forced and not self._is_force_sent and connected:
            self._is_force_sent = self._qmp.send(ending(FORCED_STATUS), _FORCE_SECONDS)
        elif now >= self._press_at and connected and not self._is_forced:
            self._qmp.send(_PRESS)
            self._press_at = now + PRESS_SECONDS

    def _end_after_panic(self) -> None:
        """End QEMU if it paused at a panic; the panic has been logged."""
        if self._has_panicked and not self._is_forced and self._qmp.connect(also_after_flood=True):
            self._is_forced = self._is_force_sent = self._qmp.send(
                ending(PANIC_STATUS), _FORCE_SECONDS
            )

    def _seconds_to_sleep(self, connected: bool) -> float:
        """Return the time until the next action is due."""
        has_alarm = self._alarm is not None and self._alarm.is_trusted
        seconds = _POLL_SECONDS_WITH_ALARM if has_alarm else _POLL_SECONDS
        now = self._clock.now()
        if not connected:
            left = self._qmp.reconnect_at - time.monotonic()
            seconds = min(seconds, max(self._retry, left))
            self._retry = min(self._retry * 2, _CONNECT_SECONDS[1])
        if self._force_at and not self._is_forced:
            due = min(self._press_at, self._force_at) if connected else self._force_at
            seconds = min(seconds, max(due - now, 0.0))
        return seconds

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        others = (self._keeper, self._qmp, self._resumption)
        for fd in (self._hypervisor.end, *(other.fileno() for other in others)):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if self._alarm is not None:
            poll.register(self._alarm, select.POLLIN)
        if self._clock.wait(poll, seconds):
            self._resumption.slept(self._clock.now())
        if self._alarm is not None:
            self._alarm.acknowledge()

    def _handle(self, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            data = message.get("data")
            if not isinstance(data, dict):
                data = {}
            match message.get("event"):
                case "GUEST_PANICKED":
                    self._note_panic(is_paused=data.get("action") == "pause")
                case "RESET" if data.get("guest"):
                    self._log_limited("the guest reboots", event="guest.rebooted")
                    self._firmware.restart(self._clock.now())
                case "BLOCK_IO_ERROR":
                    self._disks.report(data, self._clock.now())
                case "STOP":
                    self._is_paused = True
                    self._resumption.stopped()
                case "RESUME":
                    self._is_paused = False
                    self._disks.resumed(self._clock.now())
                    self._resumption.resumed(self._clock.now())
                case "SHUTDOWN" if not self._is_forced and data.get("reason") != "guest-panic":
                    self._log_end(str(data.get("reason", "")))
            if self._disks.is_answer(message, self._clock.now()):
                self._resumption.note(message["return"], self._clock.now())
                if message["return"]["status"] == "guest-panicked":
                    self._note_panic(is_paused=True)
            elif self._firmware.is_answer(message):
                if failure := self._firmware.failure(message):
                    self._log_limited(failure, event="firmware.nothing_to_boot", is_error=True)
            elif isinstance(error := message.get("error"), dict):
                text = f"QEMU refused a command: {error.get('desc')}"
                self._log.error(text, event="qemu.refused")

    def _note_panic(self, *, is_paused: bool) -> None:
        if is_paused and not self._has_panicked:
            self._has_panicked = True
            self._log.error("the guest panicked", event="guest.panicked")
        elif not self._has_panicked:
            self._log_limited("the guest panicked", event="guest.panicked", is_error=True)

    def _log_flood(self) -> None:
        if self._qmp.floods and not self._is_flood_logged:
            self._is_flood_logged = True
            self._log.warning(
                "the guest floods QEMU's control socket with events: the guard disconnects for "
                "some seconds at a time, and may not log why the VM ends",
                event="guest.floods_qemu",
            )

    def _log_limited(self, text: str, *, event: str, is_error: bool = False) -> None:
        """Log an event that the guest can cause without limit, up to _MAX_LINES times."""
        self._lines_left -= 1
        if self._lines_left > 0:
            (self._log.error if is_error else self._log.info)(text, event=event)
        elif self._lines_left == 0:
            text = f"{text}; further reboots and panics are not logged"
            self._log.warning(text, event=event)

    def _log_end(self, reason: str) -> None:
        """Log why QEMU ends.

        A paused guest can't power off, so a power-off then is a forced stop by another client of
        QEMU's control socket. After a power-off the guest stays paused until QEMU quits.
        """
        if self._is_off:
            return
        self._is_off = reason == "guest-shutdown"
        if self._is_off and self._is_paused:
            text = "QEMU was forced to quit: the guest did not power off"
            self._log.warning(text, event="guest.stop_forced")
        else:
            event, text = _ENDS.get(reason, ("qemu.quit", f"QEMU ends: {reason}"))
            self._log.info(text, event=event)


def arguments(
    pid: int,
    qmp: object,
    deadline: float,
    remedy: str,
    form: str,
    alarm: Sequence[int],
    resumed: Sequence[str],
) -> tuple[object, ...]:
    """Return the arguments of :func:`main`. The keeper appends its own PID and command line.

    :param pid: of the hypervisor
    :param qmp: the path of its control socket
    :param deadline: seconds from a stop signal to the forced stop
    :param remedy: how to give the guest more time
    :param form: of the log: text or json
    :param alarm: the descriptors of :func:`vmnet.supervision.alarm.opened`
    :param resumed: the program of :class:`vmnet.supervision.resumption.Resumption`
    """
    epoll = alarm[0] if alarm else -1
    return (pid, qmp, deadline, remedy, form, epoll, len(resumed), *resumed)


def main(
    pid: str, qmp: str, deadline: str, remedy: str, form: str, alarm: str, count: str, *words: str
) -> None:
    """Guard a hypervisor until it ends. :func:`arguments` describes its arguments."""
    process_name.set_own("vmnet-guard")
    resumed, (keeper, *keepers) = words[: int(count)], words[int(count) :]
    try:
        hypervisor = Hypervisor(int(pid))
        watched = KeeperWatch(int(keeper), keepers, Log(form, "keeper"))
    except (ProcessLookupError, FileNotFoundError):  # the hypervisor has ended already
        return
    inherited = Alarm(int(alarm)) if int(alarm) >= 0 else None
    log = Log(form, "guard")
    followed = Connection(qmp, QUERY), inherited, watched, Resumption(resumed, log)
    Guard(hypervisor, *followed, float(deadline), remedy, log, qmp.rpartition("/")[0]).run()
