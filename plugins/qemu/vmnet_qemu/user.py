"""Choose the user that QEMU runs as: an unprivileged user if the files' permissions allow it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vmnet.api import Disk, Machine, MachineError, User, capabilities, privileges
from vmnet_qemu import rows
from vmnet_qemu.arguments import Options
from vmnet_qemu.inherited import is_opened_by_name

_log = logging.getLogger(__name__)
# Debian reserves these numbers for QEMU (libvirt-qemu), so no other user of an image or a host has
# them.
_UNPRIVILEGED = (64055, 64055)
_ROOT = User(0, 0)
_KVM = Path("/dev/kvm")
# A path in an option such as `-drive file=/data.img,format=raw` or `-serial unix:/run/serial`.
_PATH = r"(?:^|[=:])(/(?!/)[^,]*)"
# Options with paths in the guest, such as `-append root=/dev/vda`.
_GUEST_PATH_OPTIONS = ("-append", "--append")
# Objects whose files QEMU only reads; engines mount secrets read-only.
_READ_ONLY = re.compile(r"(?:qom-type=)?(?:secret|tls-creds-\w+),")

# A file that QEMU opens by name, and the access that it needs, as bits for os.access.
_Named = tuple[Path, int]


def choose(program: Path, machine: Machine, options: Options) -> User:
    """Return a user that can open every file that QEMU opens by name, or else root.

    vmnet itself opens disks and CDs for QEMU, unless they refer to other files.

    :raises MachineError: the user that VMNET_USER names can't open a file
    """
    requested = options.settings[rows.USER]
    if os.geteuid() != 0:
        return User(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    if requested == "root":
        return _ROOT
    uid, gid = _UNPRIVILEGED if isinstance(requested, str) else requested
    named = list(_named(program, machine, options))
    user = User(uid, gid, tuple(sorted(_groups(named))))
    obstacle = _obstacle(user, named)
    if obstacle and requested != "auto":
        raise MachineError(
            f"VMNET_USER={uid}:{gid}: {obstacle}",
            "change the file's mode, name another user, or set VMNET_USER=root",
        )
    if obstacle:
        _log.info(
            "QEMU runs as root (without capabilities), because %s",
            obstacle,
            extra={"event": "qemu.user"},
        )
        return _ROOT
    return user


def _named(program: Path, machine: Machine, options: Options) -> Iterator[_Named]:
    yield program, os.X_OK
    if machine.accelerator == "kvm":
        yield _KVM, os.R_OK | os.W_OK
    for path in (machine.kernel and machine.kernel.path, machine.kernel and machine.kernel.initrd):
        if path:
            yield path, os.R_OK
    if machine.firmware.code is not None:
        yield machine.firmware.code, os.R_OK
    for device in machine.devices:
        if isinstance(device, Disk) and device.ephemeral:
            yield Path(os.environ.get("TMPDIR") or "/var/tmp"), os.W_OK | os.X_OK
        if isinstance(device, Disk) and is_opened_by_name(device):
            yield device.path, os.R_OK if device.readonly else os.R_OK | os.W_OK
    before = ""
    for word in (options.settings[rows.VNC] or "", *options.extra):
        if before not in _GUEST_PATH_OPTIONS:
            read_only = before in ("-object", "--object") and _READ_ONLY.match(word)
            access = _reading if read_only else _widest_access
            yield from map(access, map(Path, re.findall(_PATH, word)))
        before = word


def _reading(path: Path) -> _Named:
    return path, os.R_OK | (os.X_OK if path.is_dir() else 0)


def _widest_access(path: Path) -> _Named:
    """Return the most access that QEMU could need to a path in the user's own arguments."""
    if not path.exists():
        return path.parent, os.W_OK | os.X_OK
    return path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _groups(named: list[_Named]) -> set[int]:
    """Return the groups of devices such as /dev/kvm, without root's group."""
    found = {path.stat().st_gid for path, _ in named if path.is_char_device()}
    return found - {0}


def _obstacle(user: User, named: list[_Named]) -> str:
    """Return why QEMU can't run as a user; empty if it can."""
    if not capabilities.can_run_as_another_user():
        return "the container lacks one of the capabilities SETUID, SETGID and KILL"
    try:
        with privileges.tried(user):
            for path, mode in named:
                if not os.access(path, mode, effective_ids=True):
                    return f"user {user.uid} cannot access {path}"
    except OSError:
        return f"the container's user namespace does not map user {user.uid}"
    return ""
