"""Taps, which connect the guest to a bridge; the hypervisor inherits their open descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vmnet import engine
from vmnet.errors import BridgeError, PrivilegeError
from vmnet.net.kernel_errors import step

TUN = Path("/dev/net/tun")
_TUN_DEVICE = os.makedev(10, 200)
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
_IFREQ = struct.Struct("16sH22x")


def open_tap(name: str, *fds: int) -> None:
    """Create a tap that exists while its descriptors are open, each of which is a queue.

    Child processes do not inherit the descriptors. The hypervisor does, by ``Command.keep_fds``.

    :param fds: the numbers of the descriptors

    Its frames have virtio-net headers (IFF_VNET_HDR), which the guest's checksum and segmentation
    offloads require.

    :raises PrivilegeError: the device or the capability is missing
    :raises BridgeError: the name is in use, or the kernel refused for another reason
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if len(fds) > 1 else 0)
    for fd in fds:
        control = _open_tun()
        try:
            with step(f"create the tap {name}"):
                _attach(control, name, flags)
                os.dup2(control, fd, inheritable=False)
        finally:
            os.close(control)


def _attach(control: int, name: str, flags: int) -> None:
    request = _IFREQ.pack(name.encode(), flags)
    try:
        fcntl.ioctl(control, _TUNSETIFF, request)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BridgeError(
                f"the interface {name} already exists", "does another VM run in this namespace?"
            ) from None
        raise


def close_tap(fds: Iterable[int]) -> None:
    """Remove a tap by closing its descriptors.

    Ignore those that are not open, or of another file: after a start that was killed, the numbers
    come from its saved state, and mean nothing in this process.
    """
    for fd in fds:
        with suppress(OSError):
            if os.fstat(fd).st_rdev == _TUN_DEVICE:
                os.close(fd)


def _open_tun() -> int:
    hint = engine.device(TUN)
    try:
        if not TUN.exists():
            TUN.parent.mkdir(mode=0o755, exist_ok=True)
            os.mknod(TUN, 0o666 | stat.S_IFCHR, _TUN_DEVICE)
    except OSError as error:
        raise PrivilegeError(
            f"{TUN} does not exist and can't be created: {error.strerror}", hint
        ) from None
    try:
        return os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EACCES:  # root in a user namespace is not root on the host
            hint = f"`chmod 0666 {TUN}` on the host, which is udev's default"
        raise PrivilegeError(f"{TUN} can't be opened: {error.strerror}", hint) from None
