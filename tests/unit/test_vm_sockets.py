"""Connections to the VM's sockets, each of which serves one client at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmnet.net import unix
from vmnet.running import sockets
from vmnet.running.sockets import BusyError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    """A server whose queue has room for one client, which it does not accept."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
        listener.listen(0)
        yield listener


def test_clients_that_connect_at_once_take_turns(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the other clients and the connection, another client fills the queue."""
    path = tmp_path / "socket"
    looks = []

    def clients(_: Path) -> tuple[unix.Client, ...]:
        looks.append(True)
        if len(looks) == 1:
            first.connect(os.fspath(path))
        else:
            server.accept()[0].close()
            first.close()
        return ()

    monkeypatch.setattr(unix, "clients", clients)
    with socket.socket(socket.AF_UNIX) as first, sockets.connect(path) as connection:
        assert connection.getpeername() == os.fspath(path)
    assert len(looks) == 2


def test_a_client_that_has_left_is_none_before_the_server_notices(
    server: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        connection, _ = server.accept()
        assert [found.pid for found in unix.clients(path)] == [os.getpid()]
    with connection:
        assert unix.clients(path) == ()
        sockets.connect(path, patience=0).close()


def test_a_full_queue_is_a_busy_vm_also_if_the_kernel_names_no_client(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "clients", lambda _: ())
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(os.fspath(path))
        with pytest.raises(BusyError, match=r"another client is connected to .*/socket, which"):
            sockets.connect(path, patience=0)
