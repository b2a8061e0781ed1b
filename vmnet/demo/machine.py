"""The entry point at work in the demonstration's container: its console, its PID 1, its end."""

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

# A container's environment holds what its user gave it, and nothing of the machine around it.
_PASSED_ON = ("PATH", "VMNET_ACCEL", "VMNET_DEMO", "VMNET_LOG_LEVEL", "VMNET_QEMU")
_INIT = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
_EXCERPT_LINES = 20


@frozen
class Machine:
    """``vmnet run``, and later the QEMU that it becomes.

    :param started: the program outside that waits for it, and answers its exit status
    """

    started: programs.Background
    output: Path

    def console(self) -> str:
        """All that vmnet, QEMU and the guest's console have said."""
        return self.output.read_text(errors="replace").replace("\r", "")

    def lines(self, start: str) -> list[str]:
        """The console's lines with a certain beginning."""
        return [line for line in self.console().splitlines() if line.startswith(start)]

    def pid(self) -> int | None:
        """PID 1 by its number outside; None while there is none."""
        children = Path(f"/proc/{self.started.pid}/task/{self.started.pid}/children")
        with suppress(OSError):
            return next(map(int, children.read_text().split()), None)
        return None

    def program(self) -> str:
        """The name of the program that PID 1 runs."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid()}/exe").readlink().name
        return ""

    def await_(self, what: str, seconds: float, look: Callable[[], Found | None]) -> Found:
        """Wait for something to come true while the machine runs.

        :param what: completes the sentence "waited until …"
        :raises DemoError: it did not in time, or the machine ended
        """

        def look_or_end() -> tuple[Found | None] | None:
            over = self.started.poll() is not None
            found = look()
            return (found,) if found or over else None

        answer = until(look_or_end, seconds)
        if answer is None:
            raise self.failure(f"waited {seconds:g} s until {what}, in vain")
        (found,) = answer
        if not found:
            raise self.failure(f"the machine ended before {what}")
        return found

    def stop(self, seconds: float) -> int:
        """SIGTERM to PID 1, as ``docker stop`` does it; the exit status.

        :raises DemoError: it goes on running
        """
        pid = self.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        ended = until(lambda: self.started.poll() is not None, seconds)
        status = self.started.poll()
        if not ended or status is None:
            raise self.failure(f"the machine runs on {seconds:g} s after SIGTERM")
        return status

    def failure(self, message: str) -> DemoError:
        """The error for an expectation that was not met, with the end of the console."""
        lines = self.console().splitlines()
        return DemoError(message, excerpt="\n".join(lines[-_EXCERPT_LINES:]))


@contextmanager
def machine(container: Namespace, environ: Mapping[str, str], folder: Path) -> Iterator[Machine]:
    """Run the entry point in a container, as PID 1 of its own PID namespace.

    :param folder: for the console's transcript and vmnet's run directory
    """
    own = {name: environ[name] for name in _PASSED_ON if name in environ}
    own["VMNET_RUN_DIR"] = str(folder / "run")
    entry = (sys.executable, "-P", "-m", "vmnet.demo.inside", HOSTNAME)
    output = folder / "console"
    with programs.background(container.command(*_INIT, *entry), own, output) as started:
        yield Machine(started, output)
