"""Tests read a console and type on it. A failure quotes the whole transcript."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tests.lab.command import background
from tests.lab.console import ConsoleError, on_process, on_pty, on_socket, on_terminal


def test_a_program_on_pipes() -> None:
    with background("cat", pipe=True) as cat, on_process(cat) as console:
        console.send_line("login: ")
        console.send_line("welcome, 42")
        assert console.expect(r"^login: $")
        assert console.expect(r"welcome, (\d+)")[1] == "42"
        assert console.transcript == "login: \nwelcome, 42\n"


def test_a_failure_quotes_the_transcript() -> None:
    with (
        background("sh", "-c", "echo booting; echo oops >&2", pipe=True) as program,
        on_process(program) as console,
        pytest.raises(ConsoleError, match=r"(?s)closed before.*booting.*oops"),
    ):
        console.expect("login:")


def test_expect_fails_after_its_timeout() -> None:
    with (
        background("cat", pipe=True) as cat,
        on_process(cat) as console,
        pytest.raises(ConsoleError, match=r"'login:' did not appear within 0\.1 s"),
    ):
        console.expect("login:", 0.1)


def test_a_unix_socket_that_does_not_listen_yet(tmp_path: Path) -> None:
    path = tmp_path / "serial"

    def serve() -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            with server.accept()[0] as peer:
                peer.sendall(b"name? ")
                peer.sendall(b"hello " + peer.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    with on_socket(path) as console:
        console.expect(r"name\? $")
        console.send_line("guest")
        console.expect("hello guest\n")
    thread.join()


def test_a_program_that_needs_a_terminal() -> None:
    with on_pty("sh", "-c", "test -t 0 && test -t 1 && echo yes; cat") as console:
        console.expect("^yes$")
        console.send_line("typed")
        console.expect("typed\ntyped\n")


def test_a_terminal() -> None:
    controller, terminal = os.openpty()
    try:
        with on_terminal(Path(os.ttyname(terminal))) as console:
            os.write(controller, b"ready\r\n# ")
            console.expect("^# $")
            console.send_line("halt")
            assert os.read(controller, 100) == b"halt\n"
    finally:
        os.close(controller)
        os.close(terminal)
