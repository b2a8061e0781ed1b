"""The guard: turn a stop signal to the hypervisor into the guest's power button.

`docker stop` sends SIGTERM to PID 1, which is QEMU, and QEMU would end at once, as if the plug were
pulled. So vmnet blocks the stop signals before it execs QEMU: a blocked signal survives the exec,
stays pending and shows in /proc/PID/status. This process, started before the exec, looks there
twice a second (the kernel offers no way to be told of another process's pending signals), presses
the power button through QMP until the machine ends, and at the deadline has QEMU quit, which
flushes the disks.

It runs for as long as the VM, so it is a script of its own that imports nothing of vmnet and little
of the standard library: see bench/memory. Arguments: PID of the hypervisor, path of its QMP socket,
deadline in seconds.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterable

# SIGHUP, SIGINT, SIGTERM, SIGPWR: the signals that ask a machine to stop.
STOP_SIGNALS = (1, 2, 15, 30)
_LOOK_SECONDS = 0.5
_PRESS_SECONDS = 3.0
_QMP_SECONDS = 2.0


def main(pid: int, qmp: str, deadline: float) -> None:
    """Wait for a stop signal, then stop the machine; return when the hypervisor has ended."""
    _name_ourselves()
    try:
        status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
    except FileNotFoundError:  # it has ended already
        return
    signal = _wait_for_signal(status)
    if signal:
        _say(f"signal {signal}: pressing the guest's power button")
        _stop(status, qmp, deadline)


def _name_ourselves() -> None:
    """For `docker top`, which would say python3."""
    name = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(name, b"vmnet-guard")
    os.close(name)


def pending(status: bytes) -> int:
    """The stop signal that is pending for a process; 0 if none is.

    :param status: the text of /proc/PID/status (proc_pid_status(5))
    """
    for line in status.splitlines():
        if line.startswith(b"ShdPnd:"):
            mask = int(line.split()[1], 16)
            return next((one for one in STOP_SIGNALS if mask >> (one - 1) & 1), 0)
    return 0


def _wait_for_signal(status: int) -> int:
    while text := _read(status):
        found = pending(text)
        if found:
            return found
        time.sleep(_LOOK_SECONDS)
    return 0


def _read(status: int) -> bytes:
    """The open status file anew; empty once the process has ended."""
    try:
        return os.pread(status, 4096, 0)
    except ProcessLookupError:
        return b""


def _stop(status: int, qmp: str, deadline: float) -> None:
    end = time.monotonic() + deadline
    press_at = 0.0
    while _read(status):
        now = time.monotonic()
        if now >= end:
            _say(f"the guest did not power off within {deadline:g} s: forcing QEMU to quit")
            _tell(qmp, "quit")
            return
        if now >= press_at:
            _tell(qmp, "system_powerdown")
            press_at = now + _PRESS_SECONDS
        time.sleep(min(_LOOK_SECONDS / 5, end - now))


def _tell(qmp: str, command: str) -> None:
    """Give QEMU one command; a QEMU that is not there yet, or no longer, is asked again later."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(_QMP_SECONDS)
        try:
            monitor.connect(qmp)
            lines = monitor.makefile("rb")
            lines.readline()  # the greeting
            for name in ("qmp_capabilities", command):
                monitor.sendall(json.dumps({"execute": name}).encode() + b"\n")
                _await_answer(lines, name)
        except OSError as error:
            _say(f"QMP {command}: {error}")


def _await_answer(lines: Iterable[bytes], name: str) -> None:
    """Read past events to the answer; an end of file means that QEMU obeyed by ending."""
    for line in lines:
        answer = json.loads(line)
        if "error" in answer:
            _say(f"QMP {name}: {answer['error'].get('desc')}")
        if "error" in answer or "return" in answer:
            return


def _say(text: str) -> None:
    print(f"vmnet: guard: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
