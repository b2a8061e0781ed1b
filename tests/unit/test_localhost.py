"""The rules that lead from 127.0.0.1 to the guest, and when they apply."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from vmnet import engine, testing
from vmnet.model.kept import StandIn
from vmnet.model.ports import PortRange
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
