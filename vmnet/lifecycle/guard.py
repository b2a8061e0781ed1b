"""The guard: turn a stop signal to the hypervisor into the guest's power button.

`docker stop` sends SIGTERM to PID 1, which is QEMU, and QEMU would end at once, as if the plug were
pulled. So vmnet blocks the stop signals before it execs QEMU: a blocked signal survives the exec,
stays pending and shows in /proc/PID/status. This process, started before the exec, finds it there,
presses the power button through QMP until the machine ends, and at the deadline has QEMU write back
its disks and quit. It stays connected, and also says why a machine ended.

It sleeps until the alarm rings (:mod:`vmnet.lifecycle.alarm`), QEMU speaks or ends. Only where the
alarm has never rung does it look twice a second. Signals and deadlines come first: the guest sets
the pace of what QEMU says (:mod:`vmnet.lifecycle.monitor`).

A guard can be killed, by the kernel out of memory for one, and nothing would stop the machine any
more. So the keeper (:mod:`vmnet.lifecycle.keeper`) starts another one then, and the guard another
keeper. It holds no capability, and so neither does that keeper.
"""

from __future__ import annotations

import os
import select
import time

from . import beside
from .beside import BELL, STOP_SIGNALS, Log
from .monitor import Monitor
from .successor import Keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# A forced stop leaves through QEMU's isa-debug-exit at this I/O port, for a status of its own:
# `quit` would end with 0, like a guest that powered off.
EXIT_PORT = 0xF4
FORCED_STATUS = 19

PRESS_SECONDS = 3.0
_LOOK_SECONDS = 0.5
# An alarm that rang once is trusted, but not with somebody's data.
_TRUSTING_LOOK_SECONDS = 5.0
_CONNECT_SECONDS = 0.1, 5.0
_FORCE_SECONDS = float("inf")  # it writes back the disks, and forgets the rest if we hang up
_MOST_LINES = 100
_PRESS = (b'{"execute": "system_powerdown"}',)
# In this order: `stop` answers when everything is on the disks (QEMU 7.2 leaves through the port
# without writing back anything); `quit` is for machines that have no such port.
FORCE = (
    b'{"execute": "stop"}',
    b'{"execute": "human-monitor-command", "arguments": {"command-line": "o /b %d %d"}}'
    % (EXIT_PORT, FORCED_STATUS >> 1),
    b'{"execute": "quit"}',
)
_ENDS = {
    "guest-shutdown": "the guest powered off",
    "guest-reset": "the guest rebooted, and QEMU was told to end then",
    "host-qmp-quit": "QEMU was told to quit",
    "host-signal": "a signal ends QEMU",
}


class Machine:
    """The hypervisor's process.

    :raises ProcessLookupError: it has ended
    """

    def __init__(self, pid: int) -> None:
        self.end = os.pidfd_open(pid)
        self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)

    def has_ended(self) -> bool:
        return beside.has_ended(self.end)

    def pending(self) -> int:
        """The stop signal that is pending for it; 0 if none is."""
        try:
            return pending(os.pread(self._status, 4096, 0))
        except ProcessLookupError:
            return 0


class Alarm:
    """Rings when a signal arrives at the hypervisor; ``is_trusted`` once it has rung."""

    def __init__(self, fd: int) -> None:
        # It is blocked, and so pending for us for ever: the kernel asks *our* signals whether there
        # is one to report.
        os.kill(os.getpid(), BELL)
        self._epoll = select.epoll.fromfd(fd)
        self.is_trusted = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def answer(self) -> None:
        """Have it fall silent until the next signal."""
        if self._epoll.poll(0):
            self.is_trusted = True


class Guard:
    """Waits for a stop signal, then stops the machine; done when the hypervisor has ended.

    :param deadline: seconds from the signal to the forced end
    """

    def __init__(
        self,
        machine: Machine,
        monitor: Monitor,
        alarm: Alarm | None,
        keeper: Keeper,
        deadline: float,
        log: Log,
    ) -> None:
        self._machine, self._monitor, self._alarm = machine, monitor, alarm
        self._keeper, self._deadline, self._log = keeper, deadline, log
        self._retry = _CONNECT_SECONDS[0]
        self._force_at = self._press_at = 0.0
        self._is_forced = self._is_told = self._is_paused = self._is_off = False
        self._is_flooded = False
        self._lines = _MOST_LINES

    def run(self) -> None:
        while not self._machine.has_ended():
            self._look()
            connected = self._monitor.is_connected(at_any_rate=self._is_due())
            if self._force_at:
                self._stop(connected)
            self._hear(self._monitor.messages())
            self._mention_flood()
            self._sleep(min(self._keeper.look(), self._patience(connected)))
        self._hear(self._monitor.last_messages())

    def _look(self) -> None:
        if not self._force_at and (number := self._machine.pending()):
            name = beside.signal_name(number)
            self._log.info(f"{name}: pressing the guest's power button")
            self._press_at = time.monotonic()
            self._force_at = self._press_at + self._deadline

    def _is_due(self) -> bool:
        """Whether there is something to tell QEMU."""
        due = self._force_at if self._is_forced else min(self._press_at, self._force_at)
        return bool(self._force_at) and not self._is_told and time.monotonic() >= due

    def _stop(self, connected: bool) -> None:
        now = time.monotonic()
        if now >= self._force_at and not self._is_forced:
            self._is_forced = True
            text = f"the guest did not power off within {self._deadline:g} s"
            self._log.warning(f"{text}: forcing QEMU to quit")
            if not connected:
                self._log.error(f"QEMU can't be told: {self._monitor.obstacle}")
        if self._is_forced and not self._is_told and connected:
            self._is_told = self._monitor.tell(FORCE, _FORCE_SECONDS)
        elif now >= self._press_at and connected and not self._is_forced:
            self._monitor.tell(_PRESS)
            self._press_at = now + PRESS_SECONDS

    def _patience(self, connected: bool) -> float:
        """Seconds until something is due, if nothing happens before."""
        trusting = self._alarm is not None and self._alarm.is_trusted
        seconds = _TRUSTING_LOOK_SECONDS if trusting else _LOOK_SECONDS
        now = time.monotonic()
        if not connected:
            seconds = min(seconds, max(self._retry, self._monitor.again_at - now))
            self._retry = min(self._retry * 2, _CONNECT_SECONDS[1])
        if self._force_at and not self._is_forced:
            due = min(self._press_at, self._force_at) if connected else self._force_at
            seconds = min(seconds, max(due - now, 0.0))
        return seconds

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        for fd in (self._machine.end, self._keeper.fileno(), self._monitor.fileno()):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if self._alarm is not None:
            poll.register(self._alarm, select.POLLIN)
        poll.poll(int(max(seconds, 0.0) * 1000) + 1)
        if self._alarm is not None:
            self._alarm.answer()

    def _hear(self, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            data = message.get("data")
            if not isinstance(data, dict):
                data = {}
            match message.get("event"):
                case "GUEST_PANICKED":
                    self._report("the guest panicked", is_error=True)
                case "RESET" if data.get("guest"):
                    self._report("the guest reboots")
                case "STOP" | "RESUME" as event:
                    self._is_paused = event == "STOP"
                case "SHUTDOWN" if not self._is_forced and data.get("reason") != "guest-panic":
                    self._tell_end(str(data.get("reason", "")))
            if isinstance(error := message.get("error"), dict):
                self._log.error(f"QEMU refuses a command: {error.get('desc')}")

    def _mention_flood(self) -> None:
        if self._monitor.floods and not self._is_flooded:
            self._is_flooded = True
            self._log.warning(
                "the guest has QEMU say more than anybody needs: it is listened to now and then, "
                "and why the machine ends may not be logged"
            )

    def _report(self, text: str, *, is_error: bool = False) -> None:
        """What the guest can bring about as often as it likes is not logged as often."""
        self._lines -= 1
        if self._lines > 0:
            (self._log.error if is_error else self._log.info)(text)
        elif self._lines == 0:
            self._log.warning(f"{text}; this is not logged any more")

    def _tell_end(self, reason: str) -> None:
        """A guest that is paused can't power off: that is how somebody else forces it, see FORCE.

        And one that has powered off is paused until QEMU is told to quit.
        """
        if self._is_off:
            return
        self._is_off = reason == "guest-shutdown"
        if self._is_off and self._is_paused:
            self._log.warning("QEMU was forced to end, the guest had not powered off")
        else:
            self._log.info(_ENDS.get(reason, f"QEMU ends: {reason}"))


def pending(status: bytes) -> int:
    """The stop signal that is pending for a process; 0 if none is.

    :param status: the text of /proc/PID/status (proc_pid_status(5))
    """
    for line in status.splitlines():
        if line.startswith(b"ShdPnd:"):
            mask = int(line.split()[1], 16)
            return next((one for one in STOP_SIGNALS if mask >> (one - 1) & 1), 0)
    return 0


def command(
    pid: int, qmp: object, deadline: float, form: str, alarm: Sequence[int]
) -> tuple[str, ...]:
    """The words that run a guard, to which the keeper adds its own PID and words.

    :param pid: of the hypervisor
    :param qmp: the path of its control socket
    :param deadline: seconds from a stop signal to the forced end
    :param form: of the log: text or json
    :param alarm: the alarm's descriptors, its own first; none where there is no alarm
    """
    return beside.command("guard", pid, qmp, deadline, form, alarm[0] if alarm else -1)


def main(
    pid: str, qmp: str, deadline: str, form: str, alarm: str, keeper: str, *keepers: str
) -> None:
    """Guard a hypervisor until it ends; the words are :func:`command`'s."""
    beside.be_called("vmnet-guard")
    try:
        machine = Machine(int(pid))
        its_keeper = Keeper(int(keeper), keepers, Log(form, "keeper"))
    except (ProcessLookupError, FileNotFoundError):  # it has ended already
        return
    bell = Alarm(int(alarm)) if int(alarm) >= 0 else None
    log = Log(form, "guard")
    Guard(machine, Monitor(qmp), bell, its_keeper, float(deadline), log).run()
