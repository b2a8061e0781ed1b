"""``vmnet status``: its text and JSON output."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.unit import qmp, running
from vmnet import cli, testing
from vmnet.cli.status import duration
from vmnet.errors import GuestError
from vmnet.lifecycle import state
from vmnet.lifecycle.vm_record import GuestNic, Helper
from vmnet.net import ipv4
from vmnet.running import guest_answers
from vmnet.running.guest_answers import GuestAnswers

Capture = pytest.CaptureFixture[str]
IDENTITY = testing.identity()
OTHER = "198.51.100.7"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The record of a VM whose dnsmasq has ended and which answers for one of two addresses."""
    state.save(tmp_path, IDENTITY, testing.wiring(IDENTITY))
    running.machine(tmp_path, helpers=(Helper("dnsmasq", tmp_path / "dnsmasq.pid"),))

    def ask(nic: GuestNic) -> GuestAnswers:
        return GuestAnswers(nic.name, answering=nic.addresses, silent=(OTHER,))

    monkeypatch.setattr(guest_answers, "ask", ask)
    monkeypatch.setattr(ipv4, "addresses", lambda _bridge: (IPv4Interface("172.17.255.253/16"),))
    return {"VMNET_RUN_DIR": str(tmp_path), "NO_DHCP": "true"}


def test_the_text_output(environ: dict[str, str], tmp_path: Path, capsys: Capture) -> None:
    with qmp.qemu(tmp_path / "qmp.sock"):
        assert cli.main(("status",), environ) == 0
    head, qemu, process, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["WHAT", "STATE"]
    assert qemu.split(maxsplit=1) == ["QEMU", "running, emulation (TCG), x86_64, version 10.0.2"]
    assert process.strip().startswith("qemu-system-x86_64, process ")
    text = "\n".join(lines)
    assert "virtio, 2 queues, vhost, tap0, br0 172.17.255.253/16, eth0 " in text
    assert "br0 has lost 169.254.1.2, and has 172.17.255.253 instead" in text
    assert "nodhcp: another system gives the guest its address" in text
    assert f"the guest answers for 172.17.0.2, does not answer for {OTHER}" in text
    assert "dnsmasq    has ended" in text


def test_the_json_output(environ: dict[str, str], tmp_path: Path, capsys: Capture) -> None:
    with qmp.qemu(tmp_path / "qmp.sock", "paused"):
        assert cli.main(("status", "--json"), environ) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["qemu"] == {
        "state": "paused",
        "accelerator": "tcg",
        "architecture": "x86_64",
        "version": "10.0.2",
        "unknown": "",
    }
    assert found["identity"]["hostname"] == IDENTITY.hostname
    assert found["local"] == [
        {
            "device": "br0",
            "addresses": ["172.17.255.253/16"],
            "trouble": "br0 has lost 169.254.1.2, and has 172.17.255.253 instead",
            "is_deaf": False,
        }
    ]
    assert found["helpers"] == [
        {"name": "dnsmasq", "pid": 0, "runs": False, "trouble": "has ended"}
    ]
    assert found["handovers"][0]["done"] is None


def test_an_unreachable_qemu_is_reported_with_the_rest(
    environ: dict[str, str], capsys: Capture
) -> None:
    assert cli.main(("status", "--json"), environ) == 0
    found = json.loads(capsys.readouterr().out)
    assert "can't connect to " in found["qemu"]["unknown"]
    assert found["guest"]


def test_the_vm_is_as_it_was_started_whatever_the_environment_says(
    environ: dict[str, str], capsys: Capture
) -> None:
    """`docker exec -e`, or a device of the host that has come or gone since."""
    others = {"VMNET_NIC_MODEL": "e1000", "VMNET_VHOST": "on", "VMNET_QUEUES": "9"}
    assert cli.main(("status", "--json"), {**environ, **others}) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nics"] == ["virtio, 2 queues, vhost"]


def test_no_vm(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="no VM runs here"):
        cli.main(("status",), {"VMNET_RUN_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3 * 86400 + 4 * 3600 + 59, "3 d 4 h"),
    ],
)
def test_a_duration_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
