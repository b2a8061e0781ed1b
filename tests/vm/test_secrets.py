"""A VNC password that QEMU reads from a file, as docs/operations.md shows."""

from __future__ import annotations

import shlex
import socket
from base64 import b64decode
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs import pages
from tests.lab.command import run
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import VMNET, DemoVm

pytestmark = pytest.mark.vm

PASSWORD = "hunter2"
VNC_AUTHENTICATION = 2  # RFC 6143 section 7.1.2


def recipe() -> dict[str, str]:
    """Return the variables of the page's command."""
    (block,) = (block for block in pages.blocks("sh") if "-object secret" in block.text)
    words = shlex.split(block.text.replace("\\\n", " "))
    given = (word for option, word in pairwise(words) if option == "-e")
    return dict(word.split("=", 1) for word in given)


def challenge(connection: socket.socket) -> bytes:
    """Begin a session with the only authentication that QEMU offers."""
    version = connection.recv(12, socket.MSG_WAITALL)
    connection.sendall(version)
    assert connection.recv(2, socket.MSG_WAITALL) == bytes((1, VNC_AUTHENTICATION))
    connection.sendall(bytes((VNC_AUTHENTICATION,)))
    return connection.recv(16, socket.MSG_WAITALL)


def encrypted(text: bytes, password: str, folder: Path) -> bytes:
    """Encrypt with DES, whose key bytes VNC reverses bit by bit."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0"))
    (folder / "challenge").write_bytes(text)
    options = ("-nopad", "-a", "-K", (3 * key).hex(), "-in", folder / "challenge")
    return b64decode(run("openssl", "enc", "-des-ede3-ecb", *options).stdout)


def is_accepted(display: Path, password: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        # The socket exists a moment before it listens.
        until(lambda: connection.connect_ex(str(display)) == 0, WAIT, "the display to listen")
        answer = encrypted(challenge(connection), password, display.parent)
        connection.sendall(answer)
        return connection.recv(4, socket.MSG_WAITALL) == bytes(4)


def test_a_password_from_a_file_is_in_no_list_and_no_log(
    network: Lan, machine: DemoVm, tmp_path: Path
) -> None:
    secret, display = tmp_path / "password", tmp_path / "vnc" / "vm.sock"
    secret.write_text(PASSWORD)
    secret.chmod(0o444)
    display.parent.mkdir()
    display.parent.chmod(0o777)
    given = {
        name: value.replace("/run/secrets/vnc", str(secret)).replace("/vnc/vm.sock", str(display))
        for name, value in recipe().items()
    }
    web = network.container("web")
    with machine.booted(web, "-S", **given) as guest:
        until(display.exists, WAIT, "the display", detail=guest.output)
        assert is_accepted(display, PASSWORD)
        assert not is_accepted(display, "hunter3")
        process = Path(f"/proc/{guest.process.pid}")
        plan = web.run(*VMNET, "plan", "--json", env={**machine.environ, **given}, pid=True)
        files = [
            path for path in Path(machine.environ["VMNET_RUN_DIR"]).iterdir() if path.is_file()
        ]
        texts = [path.read_text(errors="replace") for path in files]
        for text in ((process / "cmdline").read_text(), guest.output(), plan.stdout, *texts):
            assert PASSWORD not in text
