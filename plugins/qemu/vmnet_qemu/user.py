"""Whom QEMU runs as: nobody in particular, wherever the files allow it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.lifecycle import privileges
from vmnet.machine import Disk, Machine, User
from vmnet_qemu.arguments import Options, is_named

_log = logging.getLogger(__name__)
# What Debian reserves for QEMU (libvirt-qemu): no other user of an image or a host has it.
_UNPRIVILEGED = (64055, 64055)
_ROOT = User(0, 0)
_KVM = Path("/dev/kvm")
# A path in an option such as `-drive file=/data.img,format=raw` or `-serial unix:/run/serial`.
_PATH = r"(?:^|[=:])(/(?!/)[^,]*)"
# Options whose paths are the guest's: `-append root=/dev/vda`.
_OF_THE_GUEST = ("-append", "--append")

# A file that QEMU opens by its name, and os.access's bits for it.
_Named = tuple[Path, int]


def choose(wish: str | tuple[int, int], program: Path, machine: Machine, options: Options) -> User:
    """The user that can open all that QEMU opens by its name; else root, which holds no capability.

    Disks and CDs don't count unless they refer to other files: they are opened for QEMU.

    :param wish: VMNET_USER
    :raises MachineError: the user that it names can't open something
    """
    if os.geteuid() != 0:
        return User(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    if wish == "root":
        return _ROOT
    uid, gid = _UNPRIVILEGED if isinstance(wish, str) else wish
    named = list(_named(program, machine, options))
    user = User(uid, gid, tuple(sorted(_groups(named))))
    obstacle = _obstacle(user, named)
    if obstacle and wish != "auto":
        raise MachineError(
            f"VMNET_USER={uid}:{gid}: {obstacle}",
            "change the file's mode, name a user who may, or set VMNET_USER=root",
        )
    if obstacle:
        _log.info("QEMU runs as root without capabilities, not as user %d: %s", uid, obstacle)
        return _ROOT
    return user


def _named(program: Path, machine: Machine, options: Options) -> Iterator[_Named]:
    yield program, os.X_OK
    if machine.accelerator == "kvm":
        yield _KVM, os.R_OK | os.W_OK
    for path in (machine.kernel and machine.kernel.path, machine.kernel and machine.kernel.initrd):
        if path:
            yield path, os.R_OK
    if options.firmware:
        yield options.firmware, os.R_OK
    for device in machine.devices:
        if isinstance(device, Disk) and device.ephemeral:
            yield Path(os.environ.get("TMPDIR") or "/var/tmp"), os.W_OK | os.X_OK
        if is_named(device):
            yield device.path, os.R_OK | os.W_OK
    before = ""
    for word in (options.vnc or "", *options.extra):
        if before not in _OF_THE_GUEST:
            yield from map(_from_user, map(Path, re.findall(_PATH, word)))
        before = word


def _from_user(path: Path) -> _Named:
    """What the user's own arguments do with a path is not ours to know: all must be allowed."""
    if not path.exists():
        return path.parent, os.W_OK | os.X_OK
    return path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _groups(named: list[_Named]) -> set[int]:
    """The groups of devices, of /dev/kvm for one; never root's."""
    found = {path.stat().st_gid for path, _ in named if path.is_char_device()}
    return found - {0}


def _obstacle(user: User, named: list[_Named]) -> str:
    """Why a user can't run this QEMU; empty if it can."""
    try:
        with privileges.tried(user):
            for path, mode in named:
                if not os.access(path, mode, effective_ids=True):
                    return f"{path} is not open to it"
    except PermissionError:
        return "the container has no SETUID and SETGID capabilities"
    except OSError:
        return "the container's user namespace has no such user"
    return ""
