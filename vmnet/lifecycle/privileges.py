"""Give privileges up: no capability in any set, no way to new ones, another user.

All of it takes hold at the next execve(2) and not before: this process keeps what it needs to undo
a start whose exec fails. An exec as a user other than root, or with an empty bounding set, ends
without capabilities (capabilities(7), "Transformation of capabilities during execve()").
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
from vmnet.machine import User

# prctl(2)
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 8, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITIES = 64  # there can be; the kernel says where its own end
_VERSION_3 = 0x20080522  # capget(2)
# capabilities(7), for what serves the machine: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID,
# SETPCAP (the keeper starts the guard without any), NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
SERVING = (0, 1, 3, 5, 6, 7, 8, 10, 12, 13)
# The numbers of setgroups, setresgid and setresuid (syscall(2)).
_OF_A_THREAD = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}
_SETS = struct.Struct("=6I")  # effective, permitted, inheritable: the low words, then the high ones


def refuse_new() -> None:
    """Never more than now, for this process and all that it executes: no set-user-ID program helps.

    :raises LaunchError: the kernel refused
    """
    with _refusable():
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def shed(keep: Container[int] = ()) -> bool:
    """From here on, what this process executes holds no capability, but those of `keep`.

    :returns: False where root is to :func:`drop` them before it executes something, for want of
        SETPCAP, and another user is not
    :raises LaunchError: the kernel refused
    """
    refuse_new()
    with _refusable():
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        effective, permitted, _, effective_high, permitted_high, _ = _capget()
        _capset(effective, permitted, 0, effective_high, permitted_high, 0)
        try:
            for one in range(_CAPABILITIES):
                if one not in keep:
                    _prctl(_PR_CAPBSET_DROP, one)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            return error.errno == errno.EINVAL  # no such capability: that was the last one
    return True


def drop() -> None:
    """Give this process's own capabilities up. There is no way back.

    :raises LaunchError: the kernel refused
    """
    with _refusable():
        _capset(0, 0, 0, 0, 0, 0)


@contextmanager
def assumed(user: User) -> Iterator[None]:
    """Be another user for an execve(2), and ourselves again where that fails.

    The permitted capabilities outlive the change of user (PR_SET_KEEPCAPS), but not the exec.

    :raises OSError: this process may not become that user
    :raises LaunchError: nor itself again
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
        with _refusable():
            _, held, inheritable, _, held_high, inheritable_high = _capget()
            _capset(held, held, inheritable, held_high, held_high, inheritable_high)
            calls.set_user(ours.uid)
            calls.set_group(ours.gid)
            calls.set_groups(ours.groups)


@contextmanager
def tried(user: User) -> Iterator[None]:
    """Open files with another user's permissions for a while.

    :raises OSError: this process may not become that user
    :raises LaunchError: nor itself again, and nothing must go on as somebody else
    """
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(user.groups)
    try:
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        with _refusable():
            os.seteuid(uid)
            os.setegid(gid)
            os.setgroups(groups)


@contextmanager
def _refusable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LaunchError(
            f"privileges can't be given up, or taken back: {error.strerror}",
            "the container's seccomp profile must allow prctl(2), capset(2) and setresuid(2), as "
            "engines' own do",
        ) from None


class _Identity:
    """setgroups(2), setresgid(2) and setresuid(2) for this thread, whose exec ends all others.

    libc changes all threads, and aborts the process where one may not: those that a plugin has left
    have no capabilities to come back with.
    """

    def __init__(self) -> None:
        self._numbers = _OF_A_THREAD.get(os.uname().machine)

    def set_groups(self, groups: Sequence[int]) -> None:
        import ctypes

        if self._numbers is None:
            os.setgroups(groups)
            return
        room = (ctypes.c_uint32 * len(groups))(*groups)
        _check(_libc().syscall(self._numbers[0], ctypes.c_size_t(len(groups)), room))

    def set_group(self, gid: int) -> None:
        self._set(1, gid, os.setresgid)

    def set_user(self, uid: int) -> None:
        self._set(2, uid, os.setresuid)

    def _set(self, which: int, number: int, of_all: Callable[[int, int, int], None]) -> None:
        import ctypes

        if self._numbers is None:
            of_all(number, number, number)
        else:
            _check(_libc().syscall(self._numbers[which], *[ctypes.c_uint32(number)] * 3))


def _capget() -> tuple[int, ...]:
    data = bytearray(_SETS.size)
    _capabilities("capget", data)
    return _SETS.unpack(data)


def _capset(*sets: int) -> None:
    _capabilities("capset", bytearray(_SETS.pack(*sets)))


def _capabilities(call: str, data: bytearray) -> None:
    import ctypes

    header = struct.pack("=Ii", _VERSION_3, 0)  # 0: of this thread
    room = (ctypes.c_char * len(data)).from_buffer(data)
    _check(getattr(_libc(), call)(header, room))


def _prctl(*arguments: int) -> None:
    import ctypes

    padded = (*arguments, 0, 0, 0, 0)[:5]
    _check(_libc().prctl(padded[0], *map(ctypes.c_ulong, padded[1:])))


@cache
def _libc() -> Any:
    """The C library; ctypes takes milliseconds to import, and few commands come here."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
