"""``vmnet console``: on a real terminal and on pipes, at a socket that stands for QEMU's."""

from __future__ import annotations

import os
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
from tests.lab.wait import until
from tests.unit import running

VMNET = (sys.executable, "-m", "vmnet", "console")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    """The console's socket: made under another name, as a start makes it."""
    running.machine(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / ".console.sock"))
        (tmp_path / ".console.sock").rename(tmp_path / "console.sock")
        made.listen()
        made.settimeout(20)
        yield made


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "VMNET_RUN_DIR": str(tmp_path)}


def accept(server: socket.socket) -> socket.socket:
    """QEMU's end of the one connection that it serves."""
    connection, _ = server.accept()
    connection.settimeout(20)
    return connection


def received(connection: socket.socket, text: bytes) -> None:
    got = b""
    while got != text:
        part = connection.recv(4096)
        assert part, f"closed after {got!r}"
        got += part
        assert text.startswith(got), got


def test_a_person_types_and_reads_and_leaves(
    server: socket.socket, environ: dict[str, str]
) -> None:
    with on_pty(*VMNET, env=environ) as terminal:
        terminal.expect("attached to the console: Ctrl-] leaves")
        with accept(server) as qemu:
            qemu.sendall(b"guest login: ")
            terminal.expect("guest login: ")
            terminal.send("root\r\x03\x10\x11\x04")
            received(qemu, b"root\r\x03\x10\x11\x04")  # Ctrl-C and the like are the guest's
            terminal.send("\x1d")
            terminal.expect("detached: the VM keeps running")
            assert qemu.recv(4096) == b""


def test_the_console_ends_with_the_machine(server: socket.socket, environ: dict[str, str]) -> None:
    with on_pty(*VMNET, env=environ) as terminal:
        accept(server).close()
        terminal.expect("the console has closed: QEMU has ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_the_terminal_is_as_it_was_whatever_ends_it(
    server: socket.socket, environ: dict[str, str], number: signal.Signals
) -> None:
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    with background(*VMNET, env=environ, terminal=theirs) as process, accept(server):
        until(lambda: termios.tcgetattr(theirs) != before, 20, "raw mode")
        process.signal(number)
        assert process.wait(20) == (0 if number == signal.SIGINT else 128 + number)
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_pipes_carry_bytes_as_they_are(server: socket.socket, environ: dict[str, str]) -> None:
    """A large paste is written while the guest talks; the end of the input leaves the screen on."""
    typed, said = bytes(range(256)) * 4096, b"x" * (1 << 20)
    with subprocess.Popen(
        VMNET, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdin
        assert process.stdout
        with accept(server) as qemu:
            qemu.setblocking(False)
            os.set_blocking(process.stdin.fileno(), False)
            _exchange(process, qemu, typed, said)
        assert process.wait(20) == 0


def _exchange(
    process: subprocess.Popen[bytes], qemu: socket.socket, typed: bytes, said: bytes
) -> None:
    """Both ways at once, and the input closed when all of it is written."""
    assert process.stdin
    assert process.stdout
    readers: list[Any] = [qemu, process.stdout]
    heard, shown, to_type, to_say = b"", 0, typed, said
    while len(heard) < len(typed) or shown < len(said):
        writers: list[int] = []
        if to_type:
            writers.append(process.stdin.fileno())
        if to_say:
            writers.append(qemu.fileno())
        readable, writable, _ = select.select(readers, writers, [], 20)
        assert readable or writable
        if writers and writers[0] in writable and to_type:
            to_type = to_type[os.write(process.stdin.fileno(), to_type[:65536]) :]
            if not to_type:
                process.stdin.close()
        if qemu.fileno() in writable and to_say:
            to_say = to_say[qemu.send(to_say) :]
        if qemu in readable:
            heard += qemu.recv(65536)
        if process.stdout in readable:
            shown += len(os.read(process.stdout.fileno(), 65536))
    assert heard == typed


def test_a_second_one_is_told_who_is_there(server: socket.socket, environ: dict[str, str]) -> None:
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


def test_a_session_that_was_left_behind_can_be_taken(
    server: socket.socket, environ: dict[str, str]
) -> None:
    """As by a ``docker exec`` whose client was killed."""
    with background(*VMNET, env=environ) as left:
        first = accept(server)
        with background(*VMNET, "--take", env=environ) as second:
            assert left.wait(20) == 128 + signal.SIGTERM
            first.close()  # as QEMU does, which then serves the next
            accept(server).close()
            assert second.wait(20) == 0


def test_a_vm_without_a_second_way_in(tmp_path: Path, environ: dict[str, str]) -> None:
    running.machine(tmp_path, console=None)
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert "VMNET_CONSOLE is off" in done.stderr
    assert "`docker attach NAME`" in done.stderr


def test_no_vm_and_no_listener(tmp_path: Path, environ: dict[str, str]) -> None:
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert f"no VM runs here: {tmp_path} has no record of one" in done.stderr
    running.machine(tmp_path)
    done = run(*VMNET, env=environ, check=False)
    assert done.returncode == 22
    assert "can't connect to" in done.stderr
