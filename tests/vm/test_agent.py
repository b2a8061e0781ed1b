"""The commands that ask the real qemu-guest-agent in a real guest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import Completed, run
from tests.lab.images.bootable import convert
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.agent_guest import Inside, settings
from tests.vm.conftest import DemoVm

pytestmark = [pytest.mark.vm, pytest.mark.long]


def test_commands_in_the_guest(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    web = network.container("web")
    with machine.booted(web, **settings(machine, tmp_path)) as guest:
        inside = Inside(guest, machine)
        early = until(lambda: _early(inside), WAIT, "QEMU to have started")
        if early.returncode:  # the guest has not booted yet
            assert "no qemu-guest-agent runs in the guest" in early.stderr
            assert early.returncode == 22
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside.await_agent()

        found = inside("exec", "--", "sh", "-c", "hostname; echo bad >&2; exit 7")
        assert (found.stdout, found.stderr, found.returncode) == ("web\n", "bad\n", 7)
        assert inside("exec", "sh", "-c", "kill -9 $$").returncode == 137
        assert inside("exec", "-i", "--", "wc", "-c", given="hello").stdout == "5\n"
        assert inside("exec", "--", "wc", "-c", given="hello").stdout == "0\n"
        assert inside("exec", "--json", "--", "hostname").json()["stdout"] == "web\n"

        # The sessions of several commands take turns.
        with ThreadPoolExecutor() as pool:
            scripts = [f"sleep 1; echo {number}" for number in range(4)]
            done = pool.map(lambda script: inside("exec", "--", "sh", "-c", script), scripts)
            assert [each.stdout + each.stderr for each in done] == ["0\n", "1\n", "2\n", "3\n"]

        # The time includes that for the shell to start in the guest.
        late = inside("exec", "--timeout", "10", "--", "sh", "-c", "echo begun; sleep 300")
        assert (late.stdout, late.returncode) == ("begun\n", 124)
        assert "exceeded its 10 s and was ended" in late.stderr
        large = inside("exec", "--", "dd", "if=/dev/zero", "bs=1M", "count=1")
        assert len(large.stdout) == 1 << 20
        missing = inside("exec", "--", "missing")
        assert missing.returncode == 22
        assert "No such file or directory" in missing.stderr
        terminal = inside("exec", "-it", "--", "sh")
        assert terminal.returncode == 22
        assert "vmnet console" in terminal.stderr

        inside("exec", "--", "ip", "address", "add", "198.51.100.7/32", "dev", "lo")
        agreed = until(lambda: _judged(inside), WAIT, "the guest's addresses")
        assert (agreed["verdict"], agreed["addresses"]) == ("agree", [web.address])
        text = f"by its agent, the guest has {web.address}, as it should"
        until(lambda: text in inside("status").stdout, WAIT, text)
        inside("exec", "--", "ip", "address", "add", "198.51.100.8/32", "dev", "eth0")
        differing = until(lambda: _judged(inside), WAIT, "the guest's addresses")
        assert (differing["verdict"], differing["others"]) == ("differ", ["198.51.100.8"])


def _early(inside: Inside) -> Completed | None:
    """Run a command, and return None if QEMU or the agent did not answer within 5 s."""
    done = inside("exec", "--", "true")
    return None if "does not answer" in done.stderr else done


def _state(inside: Inside) -> str:
    """Return QEMU's state, or an empty string if it did not answer within 5 s."""
    return str(inside("status", "--json").json()["qemu"]["state"])


def _judged(inside: Inside) -> Any:
    """Return the comparison of the only NIC, or None if the agent did not answer within 2 s."""
    (found,) = inside("status", "--json").json()["in_guest"]
    return None if found["verdict"] == "unknown" else found


def test_a_snapshot_brings_memory_disk_and_clock_back(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    web = network.container("web")
    run("mkfs.ext4", "-q", tmp_path / "disk.raw", "64M")
    disk = convert(tmp_path / "disk.raw", tmp_path / "disk.qcow2", "qcow2")
    own = {**settings(machine, tmp_path), "VMNET_DISK": str(disk)}
    with machine.booted(web, **own) as guest:
        inside = Inside(guest, machine)
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside.await_agent()

        shell = inside.shell
        shell("mkdir /mnt && mount -t ext4 /dev/vda /mnt")
        write = "echo {0} >/tmp/memory; echo {0} >/mnt/disk; sync"
        shell(write.format("first"))
        created = inside("snapshot", "create", "one")
        assert created.returncode == 0, created.stderr
        assert "froze 1 of the guest's file systems" in created.stderr
        shell(write.format("other"))
        (listed,) = inside("snapshot", "list", "--json").json()
        assert (listed["name"], listed["complete"]) == ("one", True)
        assert listed["memory"] > 1 << 20

        restored = inside("snapshot", "restore", "one")
        assert restored.returncode == 0, restored.stderr
        assert shell("cat /tmp/memory /mnt/disk") == "first\nfirst\n"
        shell(write.format("thawed"))
        inside.await_clock()
        until(lambda: _state(inside) == "running", WAIT, "the guest to run")

        assert inside("snapshot", "delete", "one").returncode == 0
        assert inside("snapshot", "list", "--json").json() == []
        shell("umount /mnt")
    run("qemu-img", "check", "-q", disk)
