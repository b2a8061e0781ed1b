"""Privileges, read from /proc/PID/status of the executed program."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet.model.machine import Command, Listener, Opened, User

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NOBODY = User(65534, 65534, (12345,))


def python(script: str, *prefix: str) -> str:
    """Run a script in a new process, which can't regain its privileges, and return its output."""
    head = (
        "import os, signal\nfrom pathlib import Path\n"
        "from vmnet.errors import VmnetError\n"
        "from vmnet.lifecycle import privileges\n"
        "from vmnet.lifecycle.become import become\n"
        "from vmnet.model.machine import Command, Listener, Opened, User\n"
        "from pathlib import PosixPath\n"
    )
    argv = (*prefix, sys.executable, "-c", head + script)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def becoming(command: Command) -> dict[str, str]:
    """Return the fields of /proc/PID/status after the exec of a command."""
    return status(python(f"become({command!r})"))


def status(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: " ".join(value.split()) for name, value in pairs}


CAT = ("/bin/cat", "/proc/self/status")


@pytest.mark.parametrize("user", [NOBODY, User(0, 0)], ids=["nobody", "root"])
def test_no_capability_is_left_in_any_set(user: User) -> None:
    found = becoming(Command(CAT, user=user))
    assert {name: int(found[name], 16) for name in SETS} == dict.fromkeys(SETS, 0)
    assert found["NoNewPrivs"] == "1"
    assert found["Uid"] == " ".join([str(user.uid)] * 4)
    assert found["Gid"] == " ".join([str(user.gid)] * 4)
    assert user.uid == 0 or found["Groups"] == "12345"


def test_a_command_without_a_user_keeps_everything() -> None:
    found = becoming(Command(CAT))
    assert found["CapEff"] == status(Path("/proc/self/status").read_text())["CapEff"] != "0" * 16
    assert found["NoNewPrivs"] == "0"


@pytest.mark.parametrize("user", [NOBODY, User(0, 0)], ids=["nobody", "root"])
def test_without_setpcap_only_the_bounding_set_stays(user: User) -> None:
    bare = ("setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-all")
    found = status(python(f"become({Command(CAT, user=user)!r})", *bare))
    assert found["NoNewPrivs"] == "1"
    del found["CapBnd"]
    assert [int(found[name], 16) for name in SETS if name in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("user", [NOBODY, User(0, 0)], ids=["nobody", "root"])
def test_a_failed_exec_leaves_the_privileges_for_the_undos(user: User) -> None:
    command = Command(("/etc/passwd",), user=user)
    said = python(
        "before = Path('/proc/self/status').read_text()\n"
        f"try: become({command!r})\n"
        "except VmnetError as error: print('failed:', error.message)\n"
        "print(Path('/proc/self/status').read_text(), 'Umask2:', os.umask(0o22))"
    )
    found, ours = status(said), status(Path("/proc/self/status").read_text())
    assert found["failed"] == "can't execute /etc/passwd: Permission denied"
    for name in ("CapPrm", "CapEff", "Uid", "Gid", "Groups", "Umask"):
        assert found[name] == ours[name], name


def test_a_user_that_can_t_be_assumed_is_an_error() -> None:
    said = python(
        f"try: become({Command(CAT, user=NOBODY)!r})\n"
        "except VmnetError as error: print(error.message, error.hint, os.geteuid(), sep='\\n')",
        *("setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-all"),
    )
    message, hint, uid = said.splitlines()
    assert message == "can't run /bin/cat as user 65534: Operation not permitted"
    assert "VMNET_USER=root" in hint
    assert uid == "0"


def test_files_are_opened_before_the_change_of_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    secret = tmp_path / "disk"
    secret.write_text("content\n")
    secret.chmod(0o600)
    files = (Opened(secret, 150), Opened(secret, 151, writable=True))
    script = "cat <&150; echo written >&151; id -u"
    command = Command(("/bin/bash", "-c", script), opened=files, user=NOBODY)
    assert python(f"become({command!r})") == "content\n65534\n"
    assert secret.read_text() == "written\n"


def test_a_missing_file_is_an_error_and_no_privilege_is_lost(tmp_path: Path) -> None:
    command = Command(CAT, opened=(Opened(tmp_path / "absent", 150),), user=NOBODY)
    said = python(
        f"try: become({command!r})\n"
        "except VmnetError as error: print(error.message)\n"
        "print(Path('/proc/self/status').read_text())"
    )
    assert f"{tmp_path}/absent can't be opened: No such file or directory" in said
    assert status(said)["NoNewPrivs"] == "0"


def test_a_socket_is_private_and_listens_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "qmp.sock"
    script = "import os, socket; s = socket.socket(fileno=150); s.settimeout(60)\n"
    script += "print('listening', flush=True)\nc, _ = s.accept(); c.sendall(b'%d' % os.getuid())"
    argv = (sys.executable, "-I", "-S", "-c", script)
    command = Command(argv, listeners=(Listener(path, 150),), user=User(0, 0))
    runner = (
        "from pathlib import PosixPath\nfrom vmnet.model.machine import Command, Listener, User\n"
    )
    runner += f"from vmnet.lifecycle.become import become\nbecome({command!r})"
    with subprocess.Popen((sys.executable, "-c", runner), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        mode = path.stat()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT)
            client.connect(str(path))
            assert client.recv(100) == b"0"
    assert (stat.S_IMODE(mode.st_mode), mode.st_uid) == (0o600, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["qmp.sock"]


def test_a_leftover_socket_is_replaced_and_a_failed_exec_removes_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    command = Command(("/etc/passwd",), listeners=(Listener(path, 150),))
    python(f"try: become({command!r})\nexcept VmnetError: print('failed')")
    assert list(tmp_path.iterdir()) == []


def test_trying_as_another_user_is_temporary() -> None:
    said = python(
        f"with privileges.tried({NOBODY!r}):\n"
        "    print(os.geteuid(), os.getegid(), os.getgroups(), os.access('/etc/shadow', os.R_OK,"
        " effective_ids=True))\n"
        "print(os.geteuid(), os.getegid(), os.access('/etc/shadow', os.R_OK, effective_ids=True))"
    )
    assert said == "65534 65534 [12345] False\n0 0 True\n"
