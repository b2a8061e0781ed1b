"""Become passt, with as much isolation as the engine permits.

passt leaves the container's files and processes behind by namespaces of its own. An engine's
seccomp profile or the kernel's configuration may refuse these, and passt would exit. In that case
this program makes the system calls succeed without an effect: a seccomp filter returns 0 for them,
in place of the error of the engine's filter, because the kernel takes the value of the newest
filter (seccomp(2)). passt then sees the container's files as a user without capabilities, and its
own seccomp filter prevents it from opening any.

It runs again when passt has ended, so it imports little.
"""

from __future__ import annotations

import ctypes
import os
import sys

from vmnet.net.filters import cbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWUSER = 0x10000000
_OTHERS = 0x08000000 | 0x00020000 | 0x04000000 | 0x20000000  # CLONE_NEWIPC, NEWNS, NEWUTS, NEWPID
_MS_UNBINDABLE, _MS_REC = 1 << 17, 1 << 14
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000  # the latter with the value 0: success
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
# By machine: AUDIT_ARCH_…, and the numbers of unshare, mount, umount2 and pivot_root.
_CALLS = {
    "x86_64": (0xC000003E, (272, 165, 166, 155)),
    "aarch64": (0xC00000B7, (97, 40, 39, 41)),
}


def main(folder: str, uid: str, gid: str, *argv: str) -> None:
    """Execute passt.

    :param folder: for passt's socket, PID file and log
    :param uid: the user that passt changes to
    :param gid: its group
    :param argv: passt's program and arguments
    """
    make_folder(folder, int(gid))
    os.umask(0)  # QEMU connects to the socket as another user
    if not isolates(int(uid), int(gid)):
        pretend(os.uname().machine)
    os.execv(argv[0], argv)


def make_folder(folder: str, gid: int) -> None:
    """Make the folder for files that passt creates as root or, in old releases, as its user."""
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    try:
        os.chown(folder, 0, gid)
        os.chmod(folder, 0o771)  # noqa: PTH101
    except PermissionError as error:  # without CHOWN, which only old releases need
        print(f"{folder}: {error.strerror}", file=sys.stderr)


def isolates(uid: int, gid: int) -> bool:
    """Return whether passt can isolate itself. A child process tries its system calls."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(())
            os.setgid(gid)
            os.setuid(uid)
            status = 0 if _try() else 1
        except OSError:
            status = 0 if _try() else 1
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _try() -> bool:
    libc = ctypes.CDLL(None)
    steps: tuple[Callable[[], int], ...] = (
        lambda: libc.unshare(_CLONE_NEWUSER),
        lambda: libc.unshare(_OTHERS),
        lambda: libc.mount(b"", b"/", b"", ctypes.c_ulong(_MS_UNBINDABLE | _MS_REC), None),
        lambda: libc.mount(b"", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None),
    )
    return all(step() == 0 for step in steps)


def pretend(machine: str) -> None:
    """Let the system calls for passt's namespaces succeed without an effect.

    :raises OSError: the kernel refused the filter
    """
    if machine not in _CALLS:
        return
    code = program(machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(code) // cbpf.INSTRUCTION.size, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described)),
    ):
        padded = (*arguments, 0, 0, 0, 0)[:5]
        if libc.prctl(padded[0], *map(ctypes.c_ulong, padded[1:])):
            number = ctypes.get_errno()
            raise OSError(number, f"prctl: {os.strerror(number)}")


def program(machine: str) -> bytes:
    """Return the filter for a machine, such as ``x86_64``."""
    arch, calls = _CALLS[machine]
    return cbpf.assemble(
        {
            "": [
                (cbpf.LD, _ARCH, 0, 0),
                (cbpf.JEQ, arch, 0, "allow"),
                (cbpf.LD, _NUMBER, 0, 0),
                *((cbpf.JEQ, call, "succeed", 0) for call in calls),
            ],
            "allow": [(cbpf.RET, _RET_ALLOW, 0, 0)],
            "succeed": [(cbpf.RET, _RET_ERRNO, 0, 0)],
        }
    )


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))
