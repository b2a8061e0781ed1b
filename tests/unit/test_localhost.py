"""The rules that lead from 127.0.0.1 to the guest, and when they apply."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit import bpf, frames
from vmnet import engine, testing
from vmnet.model.kept import StandIn
from vmnet.model.ports import PortRange
from vmnet.net.filters import cbpf, reception, redirection
from vmnet.net.localhost import rules

GOLDEN = Path(__file__).with_name("golden_localhost.txt")
END = rules.End("tap0", "br0", "06:aa:bb:cc:dd:ee")
STAND_INS = (
    StandIn(ip_address("172.17.0.2"), ip_address("169.254.9.9")),
    StandIn(ip_address("fd00::2"), ip_address("fe80::9")),
)
KEPT = (PortRange("tcp", 8006, 8006), PortRange("udp", 161, 161))


def test_golden() -> None:
    """A line for each command of libnftables-json(5)."""
    commands = rules.tables(END, STAND_INS, KEPT)
    text = "".join(f"{json.dumps(command)}\n" for command in commands)
    assert text == testing.golden(GOLDEN, text)


@pytest.mark.parametrize(
    ("service", "hosts", "secrets", "expected"),
    [
        ("10.96.0.1", "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n", False, True),
        ("10.96.0.1", "127.0.0.1\tlocalhost\n", True, True),
        ("10.96.0.1", "127.0.0.1\tlocalhost\n", False, False),
        ("", "# Kubernetes-managed hosts file.\n", True, False),
    ],
)
def test_a_pod_has_two_marks(
    service: str,
    hosts: str,
    secrets: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if service:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", service)
    (tmp_path / "hosts").write_text(hosts)
    monkeypatch.setattr(engine, "_HOSTS", tmp_path / "hosts")
    monkeypatch.setattr(engine, "_KUBERNETES", tmp_path if secrets else tmp_path / "none")
    assert engine.is_pod() == expected


PORT = frames.port(localhost=STAND_INS)
BRIDGE = frames.bridge()
AT_BRIDGE = cbpf.assemble(reception.program(PORT, BRIDGE))
AT_TAP = cbpf.assemble(redirection.for_container(PORT, BRIDGE))
KEEP, NEXT, DROP = 0, 0xFFFFFFFF, 2  # TC_ACT_OK, TC_ACT_UNSPEC, TC_ACT_SHOT
OWN4, OWN6 = (str(each.own) for each in STAND_INS)


def tcp(flags: int) -> bytes:
    segment = bytearray(frames.ports(80, 40000))
    segment[13] = flags
    return bytes(segment)


def from_guest(payload: bytes, protocol: int = frames.TCP, target: str = OWN6) -> bytes:
    if ":" in target:
        return frames.ipv6("fd00::2", protocol, payload, target=target)
    frame = frames.ipv4(frames.OWN4, protocol, payload)
    return frame[:30] + ip_address(target).packed + frame[34:]


@pytest.mark.parametrize(
    ("frame", "is_answer", "at_tap"),
    [
        (from_guest(tcp(0x12)), True, KEEP),
        (from_guest(tcp(0x02)), False, DROP),
        (from_guest(frames.ports(162, 40000), frames.UDP), True, KEEP),
        (from_guest(frames.message(135, OWN6), frames.ICMP6, "ff02::1:ff00:9"), True, KEEP),
        (from_guest(frames.message(135, "fe80::8"), frames.ICMP6, "ff02::1"), False, NEXT),
        (from_guest(tcp(0x12), target="fd00::3"), False, NEXT),
        (from_guest(tcp(0x12), target=OWN4), True, KEEP),
        (from_guest(tcp(0x02), target=OWN4), False, DROP),
        (from_guest(frames.ports(162, 40000), frames.UDP, OWN4), True, KEEP),
        (from_guest(bytes(32), frames.ICMP, OWN4), False, DROP),
    ],
)
def test_only_answers_of_the_guest_pass_the_filters(
    frame: bytes, is_answer: bool, at_tap: int
) -> None:
    assert bpf.run(AT_BRIDGE, frame) == (NEXT if is_answer else DROP)
    assert bpf.run(AT_TAP, frame) == at_tap


def test_the_network_does_not_reach_the_addresses_of_localhost() -> None:
    for target in (OWN4, OWN6):
        for payload, protocol in ((tcp(0x12), frames.TCP), (frames.ports(9, 9), frames.UDP)):
            frame = from_guest(payload, protocol, target)
            frame = frame[:6] + frames.OTHER_MAC + frame[12:]
            assert bpf.run(AT_BRIDGE, frame) == DROP
