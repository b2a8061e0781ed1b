"""The guard: turn a stop signal to the hypervisor into the guest's power button.

`docker stop` sends SIGTERM to PID 1, which is QEMU, and QEMU would end at once, as if the plug were
pulled. So vmnet blocks the stop signals before it execs QEMU: a blocked signal survives the exec,
stays pending and shows in /proc/PID/status. This process, started before the exec, finds it there,
presses the power button through QMP until the machine ends, and at the deadline has QEMU write back
its disks and quit. It stays connected, and also says why a machine ended.

It sleeps until the alarm rings (:mod:`vmnet.lifecycle.alarm`), QEMU speaks or ends. Only where the
alarm has never rung does it look twice a second.

A guard can be killed, by the kernel out of memory for one, and nothing would stop the machine any
more. So there are two processes: the keeper only waits for the guard, says so if that ends before
the machine, and forks another.

They run for as long as the VM, so this is a program of its own (:func:`command`) that imports
nothing of vmnet and little of the standard library: see bench/memory.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # as mypy knows it; the typing module would stay in memory
if TYPE_CHECKING:
    from typing import Any

# SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPWR: the signals that ask a machine to stop.
STOP_SIGNALS = (1, 2, 3, 15, 30)
# SIGRTMAX, which nobody else sends: proves that the alarm works, see vmnet.lifecycle.alarm.
BELL = 64
# A forced stop leaves through QEMU's isa-debug-exit at this I/O port, for a status of its own:
# `quit` would end with 0, like a guest that powered off.
EXIT_PORT = 0xF4
FORCED_STATUS = 19

# Imported and not run as a script: what it takes to compile one stays in memory.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); import guard; guard.main(*sys.argv[2:])"
PRESS_SECONDS = 3.0
_LOOK_SECONDS = 0.5
# An alarm that rang once is trusted, but not with somebody's data.
_TRUSTING_LOOK_SECONDS = 5.0
_CONNECT_SECONDS = 0.1, 5.0
_RELIEF_SECONDS = 1.0
_PRESS = ({"execute": "system_powerdown"},)
# In this order: `stop` answers when everything is on the disks (QEMU 7.2 leaves through the port
# without writing back anything); `quit` is for machines that have no such port.
FORCE = (
    {"execute": "stop"},
    {
        "execute": "human-monitor-command",
        "arguments": {"command-line": f"o /b {EXIT_PORT} {FORCED_STATUS >> 1}"},
    },
    {"execute": "quit"},
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
        return bool(select.select([self.end], [], [], 0)[0])

    def pending(self) -> int:
        """The stop signal that is pending for it; 0 if none is."""
        try:
            return pending(os.pread(self._status, 4096, 0))
        except ProcessLookupError:
            return 0


class Alarm:
    """Rings when a signal arrives at the hypervisor; ``is_trusted`` once it has rung."""

    def __init__(self, fd: int) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, (BELL,))
        # Pending for us for ever: the kernel asks *our* signals whether there is one to report.
        os.kill(os.getpid(), BELL)
        self._epoll = select.epoll.fromfd(fd)
        self.is_trusted = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def answer(self) -> None:
        """Have it fall silent until the next signal."""
        if self._epoll.poll(0):
            self.is_trusted = True


class Monitor:
    """The connection to QEMU. Nothing here waits: answers and events come when they come."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._received = b""
        self.obstacle = ""

    def fileno(self) -> int:
        return self._socket.fileno() if self._socket else -1

    def is_connected(self) -> bool:
        if self._socket is None:
            attempt = socket.socket(socket.AF_UNIX)
            attempt.setblocking(False)
            try:
                attempt.connect(self._path)
            except OSError as error:  # it is not there yet, or no longer
                attempt.close()
                self.obstacle = str(error)
                return False
            self._socket, self._received = attempt, b""
            self.tell(({"execute": "qmp_capabilities"},))
        return self._socket is not None

    def tell(self, commands: tuple[dict[str, Any], ...]) -> None:
        """Give QEMU commands, which it carries out one after the other."""
        assert self._socket is not None
        try:
            self._socket.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in commands))
        except OSError as error:
            self._disconnect(str(error))

    def messages(self) -> list[dict[str, Any]]:
        """What QEMU has said since the last time."""
        try:
            while self._socket is not None:
                part = self._socket.recv(4096)
                if not part:
                    self._disconnect("QEMU closed the connection")
                self._received += part
        except BlockingIOError:
            pass
        except OSError as error:
            self._disconnect(str(error))
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines if line.strip()]

    def _disconnect(self, obstacle: str) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self.obstacle = None, obstacle


class Guard:
    """Waits for a stop signal, then stops the machine; done when the hypervisor has ended.

    :param deadline: seconds from the signal to the forced end
    :param form: of the log: text or json
    """

    def __init__(
        self, machine: Machine, monitor: Monitor, alarm: Alarm | None, deadline: float, form: str
    ) -> None:
        self._machine, self._monitor, self._alarm = machine, monitor, alarm
        self._deadline, self._form = deadline, form
        self._retry = _CONNECT_SECONDS[0]
        self._force_at = self._press_at = 0.0
        self._is_forced = self._is_paused = self._is_off = False

    def run(self) -> None:
        while not self._machine.has_ended():
            connected = self._monitor.is_connected()
            self._listen()
            if not self._force_at and (number := self._machine.pending()):
                name = signal.Signals(number).name
                self._say("info", f"{name}: pressing the guest's power button")
                self._press_at = time.monotonic()
                self._force_at = self._press_at + self._deadline
            if self._force_at:
                self._stop(connected)
            self._sleep(connected)
        self._listen()

    def _stop(self, connected: bool) -> None:
        now = time.monotonic()
        if now >= self._force_at and not self._is_forced:
            self._is_forced = True
            text = f"the guest did not power off within {self._deadline:g} s"
            self._say("warning", f"{text}: forcing QEMU to quit")
            if connected:
                self._monitor.tell(FORCE)
            else:
                self._say("error", f"QEMU can't be told: {self._monitor.obstacle}")
        elif now >= self._press_at and connected and not self._is_forced:
            self._monitor.tell(_PRESS)
            self._press_at = now + PRESS_SECONDS

    def _sleep(self, connected: bool) -> None:
        """Until something happens, or something is due."""
        trusting = self._alarm is not None and self._alarm.is_trusted
        seconds = _TRUSTING_LOOK_SECONDS if trusting else _LOOK_SECONDS
        poll = select.poll()
        poll.register(self._machine.end, select.POLLIN)
        if self._alarm is not None:
            poll.register(self._alarm, select.POLLIN)
        if connected and self._monitor.fileno() >= 0:
            poll.register(self._monitor, select.POLLIN)
        else:
            seconds = min(seconds, self._retry)
            self._retry = min(self._retry * 2, _CONNECT_SECONDS[1])
        if self._force_at and not self._is_forced:
            due = min(self._press_at, self._force_at) if connected else self._force_at
            seconds = min(seconds, max(due - time.monotonic(), 0.0))
        poll.poll(int(seconds * 1000) + 1)
        if self._alarm is not None:
            self._alarm.answer()

    def _listen(self) -> None:
        for message in self._monitor.messages():
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        data = message.get("data", {})
        match message.get("event"):
            case "GUEST_PANICKED":
                self._say("error", "the guest panicked")
            case "RESET" if data.get("guest"):
                self._say("info", "the guest reboots")
            case "STOP" | "RESUME" as event:
                self._is_paused = event == "STOP"
            case "SHUTDOWN" if not self._is_forced and data.get("reason") != "guest-panic":
                self._tell_end(data.get("reason", ""))
        if "error" in message:
            self._say("error", f"QEMU refuses a command: {message['error'].get('desc')}")

    def _tell_end(self, reason: str) -> None:
        """A guest that is paused can't power off: that is how somebody else forces it, see FORCE.

        And one that has powered off is paused until QEMU is told to quit.
        """
        if self._is_off:
            return
        self._is_off = reason == "guest-shutdown"
        if self._is_off and self._is_paused:
            self._say("warning", "QEMU was forced to end, the guest had not powered off")
        else:
            self._say("info", _ENDS.get(reason, f"QEMU ends: {reason}"))

    def _say(self, level: str, text: str) -> None:
        say(self._form, level, text)


def say(form: str, level: str, text: str) -> None:
    """One line on the container's log, in the form of :mod:`vmnet.log`.

    A log that nobody takes any more must not keep the button from being pressed.
    """
    if form == "json":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": now, "level": level, "message": f"guard: {text}"})
    else:
        mark = "" if level == "info" else f"{level}: "
        line = f"vmnet: {mark}guard: {text}"
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


def pending(status: bytes) -> int:
    """The stop signal that is pending for a process; 0 if none is.

    :param status: the text of /proc/PID/status (proc_pid_status(5))
    """
    for line in status.splitlines():
        if line.startswith(b"ShdPnd:"):
            mask = int(line.split()[1], 16)
            return next((one for one in STOP_SIGNALS if mask >> (one - 1) & 1), 0)
    return 0


def command(pid: int, qmp: object, deadline: float, form: str, alarm: int) -> tuple[str, ...]:
    """The words that run a guard, and its keeper.

    :param pid: of the hypervisor
    :param qmp: the path of its control socket
    :param deadline: seconds from a stop signal to the forced end
    :param form: of the log: text or json
    :param alarm: the alarm's descriptor; -1 where there is none
    """
    words = (os.path.dirname(__file__), pid, qmp, deadline, form, alarm)  # noqa: PTH120
    return (sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, *map(str, words))


def main(pid: str, qmp: str, deadline: str, form: str, alarm: str) -> None:
    """Guard a hypervisor until it ends; the words are :func:`command`'s."""
    _be_called("vmnet-keeper")
    for number in STOP_SIGNALS:  # they are for the machine; we end when it does
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        machine = Machine(int(pid))
    except (ProcessLookupError, FileNotFoundError):  # it has ended already
        return
    if not _is_guard(machine, form):
        return
    _be_called("vmnet-guard")
    bell = Alarm(int(alarm)) if int(alarm) >= 0 else None
    Guard(machine, Monitor(qmp), bell, float(deadline), form).run()


def _is_guard(machine: Machine, form: str) -> bool:
    """Fork; True in each guard, one after the other, and False here when the machine has ended."""
    while True:
        guard = os.fork()
        if not guard:
            return True
        status = os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1])
        # One that fails at once must not be replaced without a pause.
        if select.select([machine.end], [], [], _RELIEF_SECONDS)[0]:
            return False
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        say(form, "error", f"ended before the machine ({how}): another takes its place")


def _be_called(name: str) -> None:
    """In `docker top`, which would say python3."""
    with open("/proc/self/comm", "w") as file:  # noqa: PTH123
        file.write(name)
