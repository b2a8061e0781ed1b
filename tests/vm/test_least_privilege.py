"""Each process of a VM container has only the privileges that it needs."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import run
from tests.lab.images.loop import loop_device
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until
from tests.vm.conftest import VMNET, DemoVm, Guest
from vmnet.errors import MachineError
from vmnet.lifecycle import privileges

pytestmark = pytest.mark.vm

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NOTHING = dict.fromkeys(SETS, 0)
NET_ADMIN, NET_RAW, NET_BIND_SERVICE = 1 << 12, 1 << 13, 1 << 10
STOPPED = "-S"  # the CPU never starts: these tests look only at QEMU


def statuses(container: Namespace) -> dict[str, dict[str, str]]:
    """Return /proc/PID/status of each process, by its name."""
    texts = (_content(Path(f"/proc/{pid}/status")) for pid in container.pids())
    found = [_fields(text) for text in texts if text]
    return {status["Name"]: status for status in found}


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: " ".join(value.split()) for name, _, value in pairs}


def capabilities(status: dict[str, str]) -> dict[str, int]:
    return {name: int(status[name], 16) for name in SETS}


def disk(folder: Path, image_format: str = "qcow2") -> Path:
    """Make an image that only root may open."""
    made = folder / f"disk.{image_format}"
    run("qemu-img", "create", "-q", "-f", image_format, made, "8M")
    made.chmod(0o600)
    return made


def test_every_process_has_only_the_privileges_it_needs(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    web = network.container("web", ipv6=True)
    image = disk(tmp_path)
    before = image.stat()
    settings = {"VMNET_DISK": str(image), "VMNET_IPAM": "dnsmasq,cloudinit"}
    with machine.booted(web, STOPPED, **settings):
        found = until(lambda: _settled(statuses(web)), WAIT, "every process to have shed its own")
        sockets = [path.stat() for path in (tmp_path / "run").glob("*.sock")]
        after = image.stat()
    qemu, guard, keeper = found["qemu-system-x86"], found["vmnet-guard"], found["vmnet-keeper"]
    dnsmasq, responder = found["dnsmasq"], found["vmnet-responder"]

    assert capabilities(qemu) == NOTHING
    assert (qemu["NoNewPrivs"], qemu["Seccomp"]) == ("1", "2")
    assert (qemu["Uid"], qemu["Gid"]) == ("64055 64055 64055 64055",) * 2
    assert len(sockets) >= 2
    assert {(stat.S_IMODE(status.st_mode), status.st_uid) for status in sockets} == {(0o600, 0)}
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )

    assert capabilities(guard) == NOTHING
    serving = sum(1 << capability for capability in privileges.SERVING)
    held = dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), serving)
    assert capabilities(keeper) == {**NOTHING, **held}

    assert "0" not in dnsmasq["Uid"].split()
    assert capabilities(dnsmasq)["CapEff"] & ~(NET_ADMIN | NET_RAW | NET_BIND_SERVICE) == 0

    assert "0" not in responder["Uid"].split()
    assert capabilities(responder)["CapPrm"] == capabilities(responder)["CapEff"] == 0
    helpers = (guard, keeper, dnsmasq, responder)
    assert {helper["NoNewPrivs"] for helper in helpers} == {"1"}


def test_qemu_stays_root_without_capabilities_if_only_root_may_open_a_file(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(Path(machine.environ["VMNET_DEMO"], "vmlinuz").read_bytes())
    kernel.chmod(0o600)
    web = network.container("web")
    with machine.booted(web, STOPPED, VMNET_KERNEL=str(kernel), VMNET_GUARD="off") as guest:
        qemu = statuses(web)["qemu-system-x86"]
        output = guest.output()
    assert (capabilities(qemu), qemu["Uid"], qemu["NoNewPrivs"]) == (NOTHING, "0 0 0 0", "1")
    assert f"because user 64055 cannot access {kernel}" in output
    refused = web.run(
        *(*VMNET, "run"),
        env={**machine.environ, "VMNET_USER": "1234", "VMNET_KERNEL": str(kernel)},
        check=False,
        pid=True,
    )
    assert refused.returncode == MachineError.exit_code, refused.stderr
    assert f"VMNET_USER=1234:1234: user 1234 cannot access {kernel}" in refused.stderr


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_qemu_locks_a_disk_that_it_inherits(
    network: Lan, machine: DemoVm, tmp_path: Path, image_format: str
) -> None:
    """QEMU locks an image through its descriptor, so a second machine cannot use it."""
    settings = {"VMNET_DISK": str(disk(tmp_path, image_format)), "VMNET_GUARD": "off"}
    web, other = network.container("web"), network.container("other")
    with machine.booted(web, STOPPED, **settings) as guest:
        await_locks(guest)
        environ = {**machine.environ, **settings, "VMNET_RUN_DIR": str(tmp_path / "other")}
        second, checked = (
            other.run(*VMNET, *arguments, env=environ, check=False, pid=True)
            for arguments in (("run", STOPPED), ("check",))
        )
    assert second.returncode == MachineError.exit_code, second.stderr
    refusal = f"{settings['VMNET_DISK']} is in use by another VM"
    assert refusal in second.stderr
    assert (checked.returncode, refusal in checked.stdout) == (1, True), checked.stdout


def _settled(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]] | None:
    """Return the processes when all run, and these two have finished their own preparations.

    QEMU gets its system call filter, and the responder gives up root, after the exec.
    """
    names = {"qemu-system-x86", "vmnet-guard", "vmnet-keeper", "dnsmasq", "vmnet-responder"}
    if not names <= set(found) or found["qemu-system-x86"]["Seccomp"] == "0":
        return None
    return None if "0" in found["vmnet-responder"]["Uid"].split() else found


def await_locks(guest: Guest) -> None:
    """Wait until QEMU has locked its disk."""
    held = lambda: _holds_locks(guest.process.pid)  # noqa: E731
    until(held, WAIT, "a lock", detail=guest.output)


def _holds_locks(pid: int) -> bool:
    """Return whether a process has locked part of an open file (F_OFD_SETLK)."""
    return any("OFDLCK" in _content(path) for path in Path(f"/proc/{pid}/fdinfo").iterdir())


def _content(path: Path) -> str:
    """Return the content of a file of /proc; empty if the process or descriptor is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_vmnet_opens_a_block_device_for_qemu(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    with loop_device(disk(tmp_path, "raw")) as device:
        web = network.container("web")
        with machine.booted(web, STOPPED, VMNET_DISK=device, VMNET_GUARD="off") as guest:
            assert statuses(web)["qemu-system-x86"]["Uid"] == "64055 64055 64055 64055"
            monitor = tmp_path / "run" / "qmp.sock"
            blocks = qmp(monitor, "query-block")
        assert guest.process.poll() is not None
    (block,) = blocks
    assert block["inserted"]["drv"] == "raw"
    assert block["inserted"]["image"]["virtual-size"] == 8 << 20


def qmp(path: Path, command: str) -> Any:
    """Return QEMU's answer to a command on its control socket."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(WAIT)
        monitor.connect(str(path))
        lines = monitor.makefile("rb")
        lines.readline()  # the greeting
        answer: dict[str, Any] = {}
        for name in ("qmp_capabilities", command):
            monitor.sendall(json.dumps({"execute": name}).encode() + b"\n")
            answer = next(found for line in lines if "event" not in (found := json.loads(line)))
        return answer["return"]
