"""Give up privileges: drop all capabilities, prevent new ones, and change the user.

All of this takes effect at the next execve(2). Until then this process keeps what it needs to undo
a start whose exec fails. An exec as a user other than root, or with an empty bounding set, removes
all capabilities (capabilities(7), "Transformation of capabilities during execve()").
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from vmnet.errors import LaunchError
from vmnet.model.machine import User

# prctl(2)
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITIES = 64  # more than any kernel has; it refuses unknown numbers
_VERSION_3 = 0x20080522  # capget(2)
# The capabilities(7) of the keeper and the daemons: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID,
# SETUID, SETPCAP (to start the guard without any), NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
SERVING = (0, 1, 3, 5, 6, 7, 8, 10, 12, 13)
# The system call numbers of setgroups, setresgid and setresuid (syscall(2)).
_THREAD_CALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}
_SETS = struct.Struct("=6I")  # effective, permitted, inheritable: the low words, then the high ones


def refuse_new() -> None:
    """Set no_new_privs: no program that this process executes can gain privileges.

    :raises LaunchError: the kernel refused
    """
    with _launch_error():
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def shed(keep: Container[int] = ()) -> bool:
    """Deny all capabilities except `keep` to the programs that this process executes.

    :returns: False if the bounding set can't be emptied, because SETPCAP is missing. Then root must
        :func:`drop` its capabilities before it executes a program; another user need not.
    :raises LaunchError: the kernel refused
    """
    refuse_new()
    with _launch_error():
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        effective, permitted, _, effective_high, permitted_high, _ = _capget()
        _capset(effective, permitted, 0, effective_high, permitted_high, 0)
        try:
            for capability in range(_CAPABILITIES):
                if capability not in keep:
                    _prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            return error.errno == errno.EINVAL  # after the last capability of this kernel
    return True


def drop() -> None:
    """Drop this process's own capabilities for good.

    :raises LaunchError: the kernel refused
    """
    with _launch_error():
        _capset(0, 0, 0, 0, 0, 0)


@contextmanager
def assumed(user: User) -> Iterator[None]:
    """Change the user for an execve(2), and change back if that fails.

    The permitted capabilities survive the change of user (PR_SET_KEEPCAPS), but not the exec.

    :raises OSError: this process may not change to that user
    :raises LaunchError: this process may not change back
    """
    ours = User(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    if user.uid == ours.uid:
        yield
        return
    _prctl(_PR_SET_KEEPCAPS, 1)
    calls = _Identity()
    calls.set_groups(user.groups)
    try:
        calls.set_group(user.gid)
        calls.set_user(user.uid)
        yield
    finally:
        with _launch_error():
            _, permitted, inheritable, _, permitted_high, inheritable_high = _capget()
            effective, effective_high = permitted, permitted_high
            _capset(
                effective, permitted, inheritable, effective_high, permitted_high, inheritable_high
            )
            calls.set_user(ours.uid)
            calls.set_group(ours.gid)
            calls.set_groups(ours.groups)


@contextmanager
def tried(user: User) -> Iterator[None]:
    """Run the context as another user, to try which files this user can open.

    :raises OSError: this process may not change to that user
    :raises LaunchError: this process may not change back
    """
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(user.groups)
    try:
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        with _launch_error():
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)


@contextmanager
def _launch_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LaunchError(
            f"can't change privileges: {error.strerror}",
            "the container's seccomp profile must allow prctl(2), capset(2) and setresuid(2), as "
            "the engines' default profiles do",
        ) from None


class _Identity:
    """setgroups(2), setresgid(2) and setresuid(2) for the current thread only.

    libc changes all threads, and aborts the process if a thread may not change back: the threads of
    a plugin lack the capabilities to do so. The exec ends these threads in any case.
    """

    def __init__(self) -> None:
        self._numbers = _THREAD_CALLS.get(os.uname().machine)

    def set_groups(self, groups: Sequence[int]) -> None:
        import ctypes

        if self._numbers is None:
            os.setgroups(groups)
            return
        array = (ctypes.c_uint32 * len(groups))(*groups)
        _check(_libc().syscall(self._numbers[0], ctypes.c_size_t(len(groups)), array))

    def set_group(self, gid: int) -> None:
        self._set(1, gid, os.setresgid)

    def set_user(self, uid: int) -> None:
        self._set(2, uid, os.setresuid)

    def _set(self, call: int, number: int, fallback: Callable[[int, int, int], None]) -> None:
        import ctypes

        if self._numbers is None:
            fallback(number, number, number)
        else:
            _check(_libc().syscall(self._numbers[call], *[ctypes.c_uint32(number)] * 3))


def _capget() -> tuple[int, ...]:
    data = bytearray(_SETS.size)
    _capabilities("capget", data)
    return _SETS.unpack(data)


def _capset(*sets: int) -> None:
    _capabilities("capset", bytearray(_SETS.pack(*sets)))


def _capabilities(call: str, data: bytearray) -> None:
    import ctypes

    header = struct.pack("=Ii", _VERSION_3, 0)  # 0: this thread
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    _check(getattr(_libc(), call)(header, buffer))


def _prctl(*arguments: int) -> None:
    import ctypes

    padded = (*arguments, 0, 0, 0, 0)[:5]
    _check(_libc().prctl(padded[0], *map(ctypes.c_ulong, padded[1:])))


@cache
def _libc() -> Any:
    """Return the C library. Importing ctypes takes milliseconds, and few commands need it."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
