"""``vmnet console`` on a real terminal and on pipes, with a stand-in for QEMU's socket."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import background, run
from tests.lab.console import on_pty
from tests.lab.wait import WAIT, until
from tests.unit import running
from vmnet.running import console

VMNET = (sys.executable, "-m", "vmnet", "console")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    """The console's socket, created under another name and renamed, as by a start."""
    running.machine(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".console.sock"))
        (tmp_path / ".console.sock").rename(tmp_path / "console.sock")
        listener.listen()
        listener.settimeout(WAIT)
        yield listener


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "VMNET_RUN_DIR": str(tmp_path)}


def accept(server: socket.socket) -> socket.socket:
    """Accept a connection, as QEMU does."""
    connection, _ = server.accept()
    connection.settimeout(WAIT)
    return connection


def received(connection: socket.socket, text: bytes) -> None:
    got = b""
    while got != text:
        part = connection.recv(4096)
        assert part, f"closed after {got!r}"
        got += part
        assert text.startswith(got), got


def test_typing_reading_and_detaching(server: socket.socket, environ: dict[str, str]) -> None:
    with on_pty(*VMNET, env=environ) as terminal:
        terminal.expect("attached to the console: Ctrl-] leaves")
        with accept(server) as qemu:
            qemu.sendall(b"guest login: ")
            terminal.expect("guest login: ")
            terminal.send("root\r\x03\x10\x11\x04")
            received(
                qemu, b"root\r\x03\x10\x11\x04"
            )  # Ctrl-C and other control keys go to the guest
            terminal.send("\x1d")
            terminal.expect("detached: the VM keeps running")
            assert qemu.recv(4096) == b""


def test_the_console_closes_when_qemu_ends(server: socket.socket, environ: dict[str, str]) -> None:
    with on_pty(*VMNET, env=environ) as terminal:
        accept(server).close()
        terminal.expect("the console has closed: QEMU has ended")


def test_what_is_typed_before_the_terminal_is_raw_is_not_lost() -> None:
    master, keyboard = pty.openpty()
    try:
        os.write(master, b"typed early\r")
        with console.raw(keyboard) as is_terminal:
            assert is_terminal
            assert select.select([keyboard], [], [], 0)[0]
            assert os.read(keyboard, 64) == b"typed early\n"
    finally:
        os.close(master)
        os.close(keyboard)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_the_terminal_mode_is_restored_after_a_signal(
    server: socket.socket, environ: dict[str, str], number: signal.Signals
) -> None:
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    with background(*VMNET, env=environ, terminal=theirs) as process, accept(server):
        until(lambda: termios.tcgetattr(theirs) != before, WAIT, "raw mode")
        process.signal(number)
        assert process.wait(WAIT) == (0 if number == signal.SIGINT else 128 + number)
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_pipes_transfer_bytes_unchanged(server: socket.socket, environ: dict[str, str]) -> None:
    """The guest prints during a large input, and the output continues after the input's end."""
    typed, printed = bytes(range(256)) * 4096, b"x" * (1 << 20)
    with subprocess.Popen(
        VMNET, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdin
        assert process.stdout
        with accept(server) as qemu:
            qemu.setblocking(False)
            os.set_blocking(process.stdin.fileno(), False)
            _exchange(process, qemu, typed, printed)
        assert process.wait(WAIT) == 0


def _exchange(
    process: subprocess.Popen[bytes], qemu: socket.socket, typed: bytes, printed: bytes
) -> None:
    """Transfer both ways at once, and close the input when all of it is written."""
    assert process.stdin
    assert process.stdout
    readers: list[Any] = [qemu, process.stdout]
    received, shown, to_type, to_print = b"", 0, typed, printed
    while len(received) < len(typed) or shown < len(printed):
        writers: list[int] = []
        if to_type:
            writers.append(process.stdin.fileno())
        if to_print:
            writers.append(qemu.fileno())
        readable, writable, _ = select.select(readers, writers, [], WAIT)
        assert readable or writable
        if writers and writers[0] in writable and to_type:
            to_type = to_type[os.write(process.stdin.fileno(), to_type[:65536]) :]
            if not to_type:
                process.stdin.close()
        if qemu.fileno() in writable and to_print:
            to_print = to_print[qemu.send(to_print) :]
        if qemu in readable:
            received += qemu.recv(65536)
        if process.stdout in readable:
            shown += len(os.read(process.stdout.fileno(), 65536))
    assert received == typed


def test_a_second_session_is_refused_and_names_the_first(
    server: socket.socket, environ: dict[str, str]
) -> None:
    with on_pty(*VMNET, env=environ) as terminal:
        terminal.expect("attached")
        first = accept(server)
        second = run(*VMNET, env=environ, check=False)
        first.close()
    assert second.returncode == 22
    assert "is already attached, and the console serves one session at a time" in second.stderr
    assert "error: process " in second.stderr
    assert (
        "hint: leave that session with Ctrl-], or end it with `vmnet console --take`"
        in second.stderr
    )


def test_take_ends_an_abandoned_session(server: socket.socket, environ: dict[str, str]) -> None:
    """Killing the client of ``docker exec`` leaves such a session."""
    with background(*VMNET, env=environ) as abandoned:
        first = accept(server)
        with background(*VMNET, "--take", env=environ) as second:
            assert abandoned.wait(WAIT) == 128 + signal.SIGTERM
            first.close()  # as QEMU does; it then serves the next client
            accept(server).close()
            assert second.wait(WAIT) == 0


def test_a_vm_without_a_console_socket(tmp_path: Path, environ: dict[str, str]) -> None:
    running.machine(tmp_path, console=None)
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert "VMNET_CONSOLE is off" in done.stderr
    assert "`docker attach NAME`" in done.stderr


def test_no_vm_and_no_listener(tmp_path: Path, environ: dict[str, str]) -> None:
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert f"no VM runs here: {tmp_path} has no record of a VM" in done.stderr
    running.machine(tmp_path)
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert "can't connect to" in done.stderr
