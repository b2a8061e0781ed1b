"""The commands that ask the real qemu-guest-agent in a real guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.lab.command import Completed, run
from tests.lab.images.agent import with_agent
from tests.lab.images.initrd import appended
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import BOOT_SECONDS, VMNET, DemoVm, Guest

pytestmark = pytest.mark.vm


@frozen
class Inside:
    """Runs vmnet's commands in the namespaces of a VM, as `docker exec` does."""

    guest: Guest
    machine: DemoVm

    def __call__(self, *arguments: str, given: str = "") -> Completed:
        entered = ("nsenter", "-t", str(self.guest.process.pid), "--net", "--pid", "--mount")
        command = (*entered, *VMNET, *arguments)
        return run(*command, env=self.machine.environ, check=False, timeout=WAIT, input=given)


def settings(machine: DemoVm, folder: Path) -> dict[str, str]:
    demo = Path(machine.environ["VMNET_DEMO"])
    return {
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(with_agent(demo / "initrd", folder / "initrd")),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1",
    }


def test_exec(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    web = network.container("web")
    with machine.booted(web, **settings(machine, tmp_path)) as guest:
        inside = Inside(guest, machine)
        missing = inside("exec", "--", "true")
        assert missing.returncode == 22
        until(
            lambda: inside("exec", "true").returncode == 0,
            BOOT_SECONDS,
            "the agent",
            detail=lambda: guest.output() + inside("exec", "true").stderr,
        )
        print(inside("exec", "--", "sh", "-c", "id; echo bad >&2; exit 7"))
        print(inside("exec", "-i", "--", "wc", "-c", given="hello"))
        print(inside("exec", "--timeout", "1", "--", "sh", "-c", "echo begun; sleep 30"))
        print(inside("exec", "--", "missing"))
        print(inside("exec", "--json", "--", "hostname"))
        print(inside("exec", "--", "dd", "if=/dev/zero", "bs=1M", "count=20").stderr)
        print(inside("status"))
        assert 0
