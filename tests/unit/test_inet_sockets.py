"""TCP and UDP sockets in a network namespace."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from vmnet.net import inet_sockets
from vmnet.net.inet_sockets import InetSocket

MAPPED = "::ffff:127.0.0.1"
_HEAD = "sl local_address rem_address st queues timer retrnsmt uid timeout inode\n"
_REST = "00000000:00000000 00:00000000 00000000 0 0"


@pytest.mark.parametrize(
    ("family", "kind", "address", "protocol"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "tcp"),
        (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.2", "udp"),
        (socket.AF_INET6, socket.SOCK_STREAM, "::1", "tcp"),
        (socket.AF_INET6, socket.SOCK_DGRAM, "::1", "udp"),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, MAPPED, "tcp", id="as Java does"),
    ],
)
@pytest.mark.parametrize("source", [inet_sockets._from_kernel, inet_sockets._from_proc])
def test_a_real_socket_is_found(
    source: Callable[[], Iterator[InetSocket]],
    family: socket.AddressFamily,
    kind: socket.SocketKind,
    address: str,
    protocol: str,
) -> None:
    with socket.socket(family, kind) as server:
        server.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        port = server.getsockname()[1]
        expected = ip_address(address.removeprefix("::ffff:"))
        assert expected.is_loopback
        assert InetSocket(protocol, expected, port, listens=True) in set(source())


@pytest.mark.parametrize(
    ("line", "is_used"),
    [
        pytest.param(f"0: 00000000:0050 00000000:0000 0A {_REST} 41", True, id="server"),
        pytest.param(f"0: 020011AC:C350 030011AC:0050 01 {_REST} 41", True, id="client"),
        pytest.param(f"0: 020011AC:C350 030011AC:0050 06 {_REST} 0", False, id="closed"),
        pytest.param(f"0: 0B00007F:9C41 00000000:0000 0A {_REST} 41", False, id="Docker's DNS"),
    ],
)
def test_a_network_is_used_by_servers_and_clients(
    line: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inet_sockets, "_NETLINK_SOCK_DIAG", 31)  # a kernel without sock_diag
    monkeypatch.setattr(inet_sockets, "_FOLDER", tmp_path)
    (tmp_path / "tcp").write_text(f"{_HEAD}{line}\n")
    assert inet_sockets.is_used() == is_used
