"""Wait for NICs that are added after the start, as containerlab and `docker network connect` do."""

from __future__ import annotations

import errno
import logging
import select
import socket
import time
from collections.abc import Iterable

from vmnet.api import CaptureError, device

_RTMGRP_LINK = 1  # rtnetlink(7)
_log = logging.getLogger(__name__)


def wait_for(names: Iterable[str], seconds: int) -> None:
    """Wait until the container has all NICs.

    A NIC that has just arrived is set up a moment later, so the wait for it ends when it is up.

    :raises CaptureError: a NIC does not exist after ``seconds``
    """
    wanted = tuple(names)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as changes:
        changes.bind((0, _RTMGRP_LINK))
        coming = [name for name in wanted if name not in _states()]
        if not coming:
            return
        if seconds:
            _log.info(
                "waiting %d s for %s, which VMNET_INTERFACES names", seconds, ", ".join(coming)
            )
        deadline = time.monotonic() + seconds
        while not all(map(_states().get, coming)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([changes], [], [], left)[0]:
                break
            _discard(changes)
    present = _states()
    if missing := [name for name in wanted if name not in present]:
        others = ", ".join(name for name in present if name != "lo") or "none"
        raise CaptureError(
            f"VMNET_INTERFACES={','.join(wanted)}: there is no interface {missing[0]}",
            f"the container has: {others}; if the interface comes later, "
            f"set VMNET_INTERFACES_TIMEOUT to more than {seconds} seconds",
        )


def _states() -> dict[str, bool]:
    """Return whether each device is up, by its name."""
    return {found.name: found.is_up for found in device.devices().values()}


def _discard(changes: socket.socket) -> None:
    try:
        changes.recv(1 << 16)
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # the kernel dropped messages; their content is not used
            raise
