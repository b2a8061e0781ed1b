"""Wait for NICs that are added after the start, as containerlab and `docker network connect` do."""

from __future__ import annotations

import errno
import logging
import select
import socket
import time
from collections.abc import Iterable

from vmnet.api import CaptureError, device

# Links, and the addresses and routes of IPv4 and IPv6: RTMGRP_… in linux/rtnetlink.h, rtnetlink(7).
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_QUIET_SECONDS = 0.5
_log = logging.getLogger(__name__)


def wait_for(names: Iterable[str], seconds: int) -> None:
    """Wait until the container has all NICs, and they are set up.

    An engine adds a NIC, sets it up, and then adds its addresses and routes. So after the wait for
    a NIC that was missing or down, wait until the network has not changed for half a second.

    :param seconds: the limit
    :raises CaptureError: a NIC does not exist after ``seconds``
    """
    wanted = tuple(names)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as changes:
        changes.setblocking(False)
        changes.bind((0, _GROUPS))
        states = _states()
        coming = [name for name in wanted if not states.get(name)]
        if not coming:
            return
        if seconds:
            _log.info(
                "waiting %d s for %s, which VMNET_INTERFACES names",
                seconds,
                ", ".join(coming),
                extra={"event": "network.awaited"},
            )
        _wait(changes, coming, time.monotonic() + seconds)
    present = _states()
    if missing := [name for name in wanted if name not in present]:
        others = ", ".join(name for name in present if name != "lo") or "none"
        raise CaptureError(
            f"VMNET_INTERFACES={','.join(wanted)}: there is no interface {missing[0]}",
            f"the container has: {others}; if the interface comes later, "
            f"set VMNET_INTERFACES_TIMEOUT to more than {seconds} seconds",
        )


def _wait(changes: socket.socket, coming: Iterable[str], deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        is_up = all(map(_states().get, coming))
        limit = min(left, _QUIET_SECONDS) if is_up else left
        if not select.select([changes], [], [], limit)[0]:
            return
        _discard(changes)


def _states() -> dict[str, bool]:
    """Return whether each device is up, by its name."""
    return {found.name: found.is_up for found in device.devices().values()}


def _discard(changes: socket.socket) -> None:
    """Discard all messages; the kernel is queried instead."""
    while True:
        try:
            changes.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # the kernel has dropped messages
                raise
