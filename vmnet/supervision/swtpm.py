"""Start swtpm(8), which emulates a TPM, as an unprivileged user.

This program, which is root, listens on the control socket for it, so that only root can connect:
vmnet connects for QEMU. It exits as soon as swtpm answers. The keeper runs it again when swtpm has
ended, so it imports little.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import sys

_USERS = "tss", "nobody"  # Debian's packages create the former
_GET_CAPABILITY = b"\0\0\0\1"  # swtpm_ioctls(3), CMD_GET_CAPABILITY
_SECONDS = 20


def main(
    program: str, pidfile: str, path: str, state: str, log: str, lasting: str, owner: str
) -> None:
    """Start swtpm in the background.

    :param program: swtpm
    :param pidfile: to which the PID is written
    :param path: the control socket
    :param state: the folder for the TPM's state
    :param log: swtpm's log
    :param lasting: ``kept`` to keep the state of an earlier start, or ``new``
    :param owner: ``own`` for swtpm's own user, or ``root`` if root lacks a capability for that
    """
    os.umask(0o077)
    if lasting == "new":
        shutil.rmtree(state, ignore_errors=True)
    os.makedirs(state, mode=0o700, exist_ok=True)  # noqa: PTH103
    try:
        user = _prepared(state) if owner == "own" else (0, 0)
        lock = _locked(state)
    except PermissionError as error:
        sys.exit(f"root can't open {error.filename} without the capability DAC_OVERRIDE")
    if not user[0]:
        print("swtpm runs as root", file=sys.stderr)
    server = _listening(path)
    pid = os.fork()
    if pid == 0:
        _execute(program, (server.fileno(), lock), state, log, user)
    server.close()
    _write(pidfile, pid)
    if not _answers(path):
        with open(log, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            sys.exit(f"swtpm does not start: {file.read(2000).strip()}")


def _user() -> tuple[int, int]:
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    return 0, 0


def _prepared(state: str) -> tuple[int, int]:
    """Give the state to swtpm's user, and return the user: root if the file system refuses."""
    user = _user()
    for name in (state, *(os.path.join(state, entry) for entry in os.listdir(state))):  # noqa: PTH118, PTH208
        status = os.lstat(name)
        if (status.st_uid, status.st_gid) == user:
            continue
        try:
            os.chown(name, *user, follow_symlinks=False)
        except PermissionError:
            print(f"swtpm runs as root, which can't change the owner of {name}", file=sys.stderr)
            return 0, 0
    return user


def _locked(state: str) -> int:
    """Lock the state, which swtpm does only since 0.8. swtpm inherits the lock."""
    fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another VM uses the TPM's state in {state}")
    return fd


def _listening(path: str) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o600)  # noqa: PTH101
    server.listen()
    return server


def _execute(
    program: str, inherited: tuple[int, int], state: str, log: str, user: tuple[int, int]
) -> None:
    """Become swtpm, as its user if root may change the user.

    :param inherited: the control socket, and the lock of the state
    """
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for fd in inherited:
            os.set_inheritable(fd, True)
        os.chdir(state)  # whose parents may be closed to other users
        try:
            os.setgroups(())
            os.setgid(user[1])
            os.setuid(user[0])
        except PermissionError as error:
            print(f"swtpm runs as root: {error.strerror}", file=sys.stderr)
        words = (
            *(program, "socket", "--tpm2", "--tpmstate", "dir=.,mode=0600"),
            *("--ctrl", f"type=unixio,fd={inherited[0]}"),
        )
        os.execv(program, words)
    except OSError as error:
        print(f"{program}: {error.strerror}", file=sys.stderr)
    finally:
        os._exit(1)


def _answers(path: str) -> bool:
    """Return whether swtpm answers on its control socket."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_SECONDS)
            client.connect(path)
            client.sendall(_GET_CAPABILITY)
            return bool(client.recv(64))
    except OSError:
        return False


def _write(pidfile: str, pid: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(pidfile, flags, 0o644), "w") as file:
        file.write(f"{pid}\n")
