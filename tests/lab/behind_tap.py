"""A guest without a VM, on the tap itself: what it sends and gets passes the tap's own filters."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vmnet.net import links

from .namespace import Namespace, namespace

_SYS_PIDFD_GETFD = 438
_ETH_P_ALL, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 3, 263, 23
_VIRTIO_NET_HEADER = bytes(10)
_WIRE = "wire"


@contextmanager
def behind_tap(hypervisor: int, mac: str, *, fd: int = 100) -> Iterator[Namespace]:
    """
    A namespace whose ``eth0`` stands where a VM's NIC would, and has nothing but a MAC.

    :param hypervisor: the process that has the tap open.
    :param fd: the tap's descriptor there.
    """
    tap = _borrow(hypervisor, fd)
    with namespace("guest") as made:
        made.ip("link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", _WIRE)
        made.sysctl(**{f"net__ipv6__conf__{_WIRE}__disable_ipv6": 1})
        for link in (_WIRE, "eth0"):
            made.ip("link", "set", link, "up")
        with made.entered():
            links.disable_tx_checksum("eth0")
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wire.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        wire.bind((_WIRE, _ETH_P_ALL))
        done, stop = os.pipe()
        pump = threading.Thread(target=_pump, args=(tap, wire, done), daemon=True)
        pump.start()
        try:
            yield made
        finally:
            os.close(stop)
            pump.join()
            wire.close()
            for one in (tap, done):
                os.close(one)


def _borrow(process: int, fd: int) -> int:
    """A descriptor of another process, pidfd_getfd(2)."""
    pidfd = os.pidfd_open(process)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        got: int = libc.syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
        if got < 0:
            raise OSError(ctypes.get_errno(), f"no descriptor {fd} of {process}")
        return got
    finally:
        os.close(pidfd)


def _pump(tap: int, wire: socket.socket, done: int) -> None:
    """Frames from either side to the other until the pipe is closed."""
    while True:
        ready = select.select([tap, wire.fileno(), done], [], [])[0]
        if done in ready:
            return
        if tap in ready:
            wire.send(os.read(tap, 1 << 17)[len(_VIRTIO_NET_HEADER) :])
        if wire.fileno() in ready:
            frame = _VIRTIO_NET_HEADER + wire.recv(1 << 17)
            with suppress(OSError):  # a tap that is down loses it
                os.write(tap, frame)
