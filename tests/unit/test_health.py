"""``vmnet health``, which engines act on."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from attrs import evolve

from tests.lab.wait import WAIT, until
from tests.unit import qmp, running
from vmnet import cli
from vmnet.lifecycle.vm_record import GuestNic, Helper
from vmnet.net import ipv4
from vmnet.running import guest_answers, health, run_state
from vmnet.running.guest_answers import GuestAnswers

SILENT = GuestAnswers("eth0", silent=("172.17.0.2",))
UP = GuestAnswers("eth0", answering=("172.17.0.2",))
UNKNOWN = GuestAnswers("eth0", unknown="no permission to ask the guest on tap0")


_SECONDS = health._SECONDS


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for the stand-in for QEMU, which is a thread of a busy process."""
    monkeypatch.setattr(health, "_SECONDS", WAIT)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[GuestAnswers]:
    """The guest's answers in order; the last answer repeats."""
    answers = [UP]

    def ask(_nic: GuestNic, _seconds: float) -> GuestAnswers:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(guest_answers, "ask", ask)
    monkeypatch.setattr(
        ipv4, "addresses", lambda _bridge: (IPv4Interface(f"{running.NIC.local_address}/32"),)
    )
    return answers


def verdict(run_dir: Path, grace: float = 1e9, *, strict: bool = True) -> tuple[str, str]:
    found = health.examine(run_dir, grace, strict=strict)
    return found.verdict, found.reason


def test_before_qemu_starts(tmp_path: Path) -> None:
    assert verdict(tmp_path) == ("starting", "QEMU has not been started yet")


def test_a_guest_that_answers_is_healthy(tmp_path: Path, asked: list[GuestAnswers]) -> None:
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock") as qemu:
        assert verdict(tmp_path) == ("healthy", "eth0: the guest answers for 172.17.0.2")
    assert qemu.told == ["qmp_capabilities", "query-status"]


def test_the_vm_is_healthy_without_its_metrics(
    tmp_path: Path, asked: list[GuestAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_HELPERS_SECONDS", 0)
    for name, expected in (("metrics", "healthy"), ("dnsmasq", "unhealthy")):
        running.machine(tmp_path, helpers=(Helper(name, tmp_path / f"{name}.pid"),))
        with qmp.qemu(tmp_path / "qmp.sock"):
            assert verdict(tmp_path)[0] == expected
        (tmp_path / "qmp.sock").unlink()


@pytest.mark.parametrize("state", ["paused", "prelaunch", "io-error", "guest-panicked", "new-one"])
def test_a_machine_that_does_not_run_is_unhealthy(
    tmp_path: Path, asked: list[GuestAnswers], state: str
) -> None:
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock", state):
        found, reason = verdict(tmp_path)
    assert found == "unhealthy"
    assert reason.startswith(f"{state}: ")


def test_a_suspended_guest_is_healthy(tmp_path: Path, asked: list[GuestAnswers]) -> None:
    asked[:] = [SILENT]
    running.machine(tmp_path)
    with qmp.qemu(tmp_path / "qmp.sock", "suspended"):
        assert verdict(tmp_path, 0)[0] == "healthy"


def test_a_qemu_that_has_ended_or_does_not_answer_is_unhealthy(
    tmp_path: Path, asked: list[GuestAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_SECONDS", _SECONDS)
    running.machine(tmp_path)
    assert verdict(tmp_path)[0] == "unhealthy"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "qmp.sock"))
        deaf.listen()
        text = "QEMU does not answer on its control socket"
        assert verdict(tmp_path) == ("unhealthy", text)
        deaf.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(tmp_path / "qmp.sock"))
            with deaf.accept()[0]:
                assert verdict(tmp_path)[0] == "healthy", "QEMU serves another client"


def test_all_queries_share_one_limit_below_half_a_second(
    tmp_path: Path, asked: list[GuestAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU and two NICs are queried at the same time; in turn, the first would wait in vain."""
    monkeypatch.setattr(health, "_SECONDS", _SECONDS)
    all_queried = threading.Barrier(3, timeout=WAIT)
    limits = []

    def ask_qemu(_path: Path, seconds: float) -> run_state.RunState:
        limits.append(seconds)
        all_queried.wait()
        return run_state.RunState("running")

    def ask_guest(nic: GuestNic, seconds: float) -> GuestAnswers:
        limits.append(seconds)
        all_queried.wait()
        return GuestAnswers(nic.name, answering=nic.addresses)

    monkeypatch.setattr(run_state, "ask", ask_qemu)
    monkeypatch.setattr(guest_answers, "ask", ask_guest)
    running.machine(tmp_path, nics=(running.NIC, evolve(running.NIC, name="eth1")))
    assert verdict(tmp_path)[1].split("; ") == [
        f"{name}: the guest answers for 172.17.0.2" for name in ("eth0", "eth1")
    ]
    assert max(limits) < 0.5


def test_a_helper_that_has_ended_or_is_stopped_is_unhealthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = Helper("dnsmasq", tmp_path / "pid")
    running.machine(tmp_path, helpers=(helper,), qmp=None, nics=())
    monkeypatch.setattr(health, "_HELPERS_SECONDS", 1e9)
    assert verdict(tmp_path)[0] == "healthy", "the helper is still starting"
    monkeypatch.setattr(health, "_HELPERS_SECONDS", 0)
    ended = ("unhealthy", "dnsmasq has ended: see the container's log")
    assert verdict(tmp_path) == ended
    with subprocess.Popen(("sleep", "60")) as child:
        helper.pidfile.write_text(str(child.pid))
        assert verdict(tmp_path)[0] == "healthy"
        child.send_signal(signal.SIGSTOP)
        stopped = ("unhealthy", "dnsmasq is stopped: see the container's log")
        until(lambda: verdict(tmp_path) == stopped, WAIT, "it to be stopped")
        child.kill()
    assert verdict(tmp_path) == ended


def without_qmp(run_dir: Path, *, confined: bool = True) -> None:
    running.machine(run_dir, qmp=None, nics=(evolve(running.NIC, confined=confined),))


def test_a_booting_guest_is_starting_and_must_go_on_answering_afterwards(
    tmp_path: Path, asked: list[GuestAnswers]
) -> None:
    without_qmp(tmp_path)
    asked[:] = [SILENT, UP, SILENT, UNKNOWN, UP]
    found = [verdict(tmp_path)[0] for _ in range(5)]
    assert found == ["starting", "healthy", "unhealthy", "healthy", "healthy"]


def test_a_guest_that_never_answers_is_unhealthy_only_if_strict(
    tmp_path: Path, asked: list[GuestAnswers]
) -> None:
    without_qmp(tmp_path)
    asked[:] = [SILENT]
    found, reason = verdict(tmp_path, 0, strict=False)
    assert (found, "answers are not required" in reason) == ("healthy", True)
    assert verdict(tmp_path, 0, strict=True)[0] == "unhealthy"
    assert verdict(tmp_path, strict=True)[0] == "starting"


def test_a_guest_must_answer_on_one_of_its_nics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[GuestAnswers]
) -> None:
    """Cloud images configure only their first NIC."""
    answering = {"eth0"}

    def ask(nic: GuestNic, _seconds: float) -> GuestAnswers:
        if nic.name in answering:
            return GuestAnswers(nic.name, answering=nic.addresses)
        return GuestAnswers(nic.name, silent=nic.addresses)

    monkeypatch.setattr(guest_answers, "ask", ask)
    second = evolve(running.NIC, name="eth1", addresses=("172.18.0.2",))
    running.machine(tmp_path, qmp=None, nics=(running.NIC, second))
    assert verdict(tmp_path)[0] == "starting"
    found, reason = verdict(tmp_path, 0)
    assert found == "healthy"
    assert "eth1: the guest does not answer" in reason
    answering.clear()
    lost = "the guest does not answer for 172.17.0.2 on eth0"
    assert verdict(tmp_path, 0) == ("unhealthy", f"{lost} any more")
    (tmp_path / "answered").unlink()
    assert verdict(tmp_path, 0) == ("unhealthy", f"{lost} after 0 s")


@pytest.mark.parametrize(
    ("options", "cdrom", "expected"),
    [
        ((), "", "unhealthy"),
        ((), "/install.iso", "healthy"),
        (("--strict",), "/install.iso", "unhealthy"),
        (("--no-strict",), "", "healthy"),
    ],
)
def test_only_an_installer_need_not_answer(
    tmp_path: Path,
    asked: list[GuestAnswers],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    cdrom: str,
    expected: str,
) -> None:
    without_qmp(tmp_path)
    asked[:] = [SILENT]
    environ = {"VMNET_RUN_DIR": str(tmp_path), "VMNET_CDROM": cdrom}
    cli.main(("health", "--json", "--grace", "0", *options), environ)
    assert json.loads(capsys.readouterr().out)["verdict"] == expected


@pytest.mark.parametrize(("frames", "expected"), [("0", "unhealthy"), ("1", "healthy")])
def test_a_guest_with_unknown_addresses_must_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: str, expected: str
) -> None:
    """With NO_DHCP, vmnet cannot query the guest. A guest that has not booted sends nothing."""
    (tmp_path / "dev").write_text(f"Inter-| Receive\n face |bytes\n tap0: 9 {frames} 0 0\n")
    monkeypatch.setattr(guest_answers, "_DEVICES", tmp_path / "dev")
    monkeypatch.setattr(ipv4, "addresses", lambda _bridge: ())
    running.machine(tmp_path, qmp=None, nics=(evolve(running.NIC, addresses=()),))
    assert verdict(tmp_path, 0)[0] == expected
    assert verdict(tmp_path)[0] == ("starting" if expected == "unhealthy" else "healthy")


def test_an_unconfined_guest_may_stop_answering(tmp_path: Path, asked: list[GuestAnswers]) -> None:
    without_qmp(tmp_path, confined=False)
    asked[:] = [UP, SILENT]
    assert [verdict(tmp_path, 0)[0] for _ in range(2)] == ["healthy", "healthy"]


def test_a_lost_bridge_address_is_reported(
    tmp_path: Path, asked: list[GuestAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("172.17.255.254", "169.254.1.2")
    nic = evolve(running.NIC, local_address=names[0], nameservers=names)
    running.machine(tmp_path, qmp=None, nics=(nic,))
    found = []
    for own in (("172.17.255.254/16",), ("169.254.1.2/32",), ("169.254.9.9/32",)):
        monkeypatch.setattr(
            ipv4, "addresses", lambda _bridge, own=own: tuple(map(IPv4Interface, own))
        )
        found.append(verdict(tmp_path))
    answers = "eth0: the guest answers for 172.17.0.2"
    lost = "br0 has lost 172.17.255.254"
    assert found == [
        ("healthy", answers),
        (
            "healthy",
            f"{answers}; {lost}: until it has another address, "
            "names outside the network don't resolve",
        ),
        ("unhealthy", f"{lost}, and does not forward the guest's DNS: restart the container"),
    ]


def test_a_full_disk_does_not_change_the_verdict(tmp_path: Path, asked: list[GuestAnswers]) -> None:
    """A limit on file sizes stands for a full disk, which would need a file system."""
    without_qmp(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        found, reason = verdict(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found == "healthy"
    assert reason.startswith("eth0: the guest answers for 172.17.0.2; can't write ")
    asked[:] = [UP, SILENT]
    assert [verdict(tmp_path)[0] for _ in range(2)] == ["healthy", "unhealthy"]


def test_answers_of_an_earlier_vm_do_not_count(tmp_path: Path, asked: list[GuestAnswers]) -> None:
    without_qmp(tmp_path)
    assert verdict(tmp_path)[0] == "healthy"
    key, *names = (tmp_path / "answered").read_text().splitlines()
    (tmp_path / "answered").write_text("\n".join((f"{key}0", *names)))
    asked[:] = [SILENT]
    assert verdict(tmp_path)[0] == "starting"


def test_the_command(
    tmp_path: Path, asked: list[GuestAnswers], capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"VMNET_RUN_DIR": str(tmp_path), "VMNET_MISSPELT": "ignored by this command"}
    assert cli.main(("health",), environ) == 1
    assert capsys.readouterr().out == "starting: QEMU has not been started yet\n"
    without_qmp(tmp_path)
    assert cli.main(("health", "--json"), environ) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "healthy"
    (tmp_path / "vm.json").write_text("{")
    assert cli.main(("health",), environ) == 1
    assert capsys.readouterr().out.startswith("unhealthy: can't read ")


def test_it_imports_only_what_it_needs(tmp_path: Path) -> None:
    """The command runs every few seconds."""
    running.machine(tmp_path, nics=())
    program = (
        "import sys; from vmnet import cli; from vmnet.running import health\n"
        f"health._SECONDS = {WAIT}\n"
        "assert cli.main(['health'], {'VMNET_RUN_DIR': sys.argv[1]}) == 0\n"
        "print(*sys.modules)"
    )
    with qmp.qemu(tmp_path / "qmp.sock"):
        done = subprocess.run(
            (sys.executable, "-c", program, tmp_path),
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=True,
            env=dict(os.environ),
        )
    heavy = {"asyncio", "cattrs", "pluggy", "pyroute2", "yaml", "jinja2"}
    assert not heavy & set(done.stdout.split())
