"""The demonstration Linux with the real qemu-guest-agent."""

from __future__ import annotations

import time
from pathlib import Path

from attrs import frozen

from tests.lab.command import Completed, run
from tests.lab.images.agent import with_agent
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, VMNET, DemoVm, Guest


@frozen
class Inside:
    """Runs vmnet's commands in the namespaces of a VM, as `docker exec` does."""

    guest: Guest
    machine: DemoVm

    def __call__(self, *arguments: str, given: str = "") -> Completed:
        entered = ("nsenter", "-t", str(self.guest.process.pid), "--net", "--pid", "--mount")
        command = (*entered, *VMNET, *arguments)
        return run(*command, env=self.machine.environ, check=False, timeout=WAIT, input=given)

    def shell(self, script: str) -> str:
        """Run a script in the guest, and return its output."""
        done = self("exec", "--", "sh", "-c", script)
        assert done.returncode == 0, done
        return done.stdout

    def clock_error(self) -> float:
        """Return by how many seconds the guest's clock is wrong, at least."""
        before = time.time()
        seconds = int(self.shell("date +%s"))
        return max(before - (seconds + 1), seconds - time.time(), 0)

    def await_clock(self) -> None:
        """Await a clock that is right, which vmnet sets next to what the test does."""
        right = lambda: self.clock_error() < 2  # noqa: E731
        detail = lambda: f"{self.clock_error()} s\n{self.guest.output()}"  # noqa: E731
        until(right, WAIT, "the guest's clock to be right", interval=0.5, detail=detail)

    def await_agent(self) -> None:
        ready = lambda: self("exec", "true").returncode == 0  # noqa: E731
        detail = lambda: self.guest.output() + self("exec", "true").stderr  # noqa: E731
        until(ready, BOOT_SECONDS, "the agent", interval=0.5, detail=detail)


def settings(machine: DemoVm, folder: Path) -> dict[str, str]:
    """Return settings that boot the demonstration Linux with the agent."""
    demo = Path(machine.environ["VMNET_DEMO"])
    return {
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(with_agent(demo / "initrd", folder / "initrd")),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1",
    }
