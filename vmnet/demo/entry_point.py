"""Run the entry point in the demonstration's container, and observe its console and PID 1."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from vmnet.demo import programs
from vmnet.demo.errors import DemoError
from vmnet.demo.network import HOSTNAME, Namespace
from vmnet.demo.wait import Found, until

# A container's environment contains its user's variables, not those of the machine.
_PASSED_ON = ("PATH", "VMNET_ACCEL", "VMNET_DEMO", "VMNET_LOG_LEVEL", "VMNET_QEMU")
# No engine limits the time here, and an emulated guest on a busy machine may need much of it.
_STOP_TIMEOUT = 30
_INIT = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
_EXCERPT_LINES = 20


@frozen
class EntryPoint:
    """``vmnet run``, and later the QEMU that it becomes.

    :param started: the program outside that waits for PID 1 and returns its exit status
    """

    started: programs.Background
    output: Path

    def console(self) -> str:
        """Return the output of vmnet, QEMU and the guest's console."""
        return self.output.read_text(errors="replace").replace("\r", "")

    def lines(self, start: str) -> list[str]:
        """Return the console's lines that begin with a text."""
        return [line for line in self.console().splitlines() if line.startswith(start)]

    def pid(self) -> int | None:
        """Return the PID of PID 1 outside its namespace, or None if it does not run."""
        children = Path(f"/proc/{self.started.pid}/task/{self.started.pid}/children")
        with suppress(OSError):
            return next(map(int, children.read_text().split()), None)
        return None

    def program(self) -> str:
        """Return the name of PID 1's program."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid()}/exe").readlink().name
        return ""

    def await_(self, what: str, seconds: float, look: Callable[[], Found | None]) -> Found:
        """Wait until ``look`` returns a true value, while the machine runs.

        :param what: the condition, as in "waited until …"
        :raises DemoError: the time expired, or the machine ended
        """

        def look_or_end() -> tuple[Found | None] | None:
            over = self.started.poll() is not None
            found = look()
            return (found,) if found or over else None

        answer = until(look_or_end, seconds)
        if answer is None:
            raise self.failure(f"waited {seconds:g} s in vain until {what}")
        (found,) = answer
        if not found:
            raise self.failure(f"the machine ended before {what}")
        return found

    def stop(self, seconds: float) -> int:
        """Send SIGTERM to PID 1, as ``docker stop`` does, and return the exit status.

        :raises DemoError: PID 1 keeps running
        """
        pid = self.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        ended = until(lambda: self.started.poll() is not None, seconds)
        status = self.started.poll()
        if not ended or status is None:
            raise self.failure(f"the machine still runs {seconds:g} s after SIGTERM")
        return status

    def failure(self, message: str) -> DemoError:
        """Return the error for a failed check, with the end of the console."""
        lines = self.console().splitlines()
        return DemoError(message, excerpt="\n".join(lines[-_EXCERPT_LINES:]))


@contextmanager
def entry_point(
    container: Namespace, environ: Mapping[str, str], folder: Path
) -> Iterator[EntryPoint]:
    """Run the entry point in a container, as PID 1 of its own PID namespace.

    :param folder: the folder for the console's transcript and vmnet's run directory
    """
    own = {name: environ[name] for name in _PASSED_ON if name in environ}
    own |= {"VMNET_RUN_DIR": str(folder / "run"), "VMNET_STOP_TIMEOUT": str(_STOP_TIMEOUT)}
    entry = (sys.executable, "-P", "-m", "vmnet.demo.inside", HOSTNAME)
    output = folder / "console"
    with programs.background(container.command(*_INIT, *entry), own, output) as started:
        yield EntryPoint(started, output)
