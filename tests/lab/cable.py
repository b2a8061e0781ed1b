"""A cable from a tap that a hypervisor holds to a network device: the tap's end without a VM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .namespace import Namespace
from .wait import until

# A process of its own, with the privileges that a hypervisor has not: it takes the tap's descriptor
# out of the hypervisor (pidfd_getfd(2)). A tap gives each frame a virtio-net header of ten bytes,
# which without offloads is all zeros.
_CABLE = """
import ctypes, os, select, socket, sys
pid, number, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
tap = libc.syscall(438, os.pidfd_open(pid), number, 0)
assert tap >= 0, os.strerror(ctypes.get_errno())
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
card.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
card.bind((device, 3))
print("plugged in", flush=True)
while True:
    for fd in select.select([tap, card.fileno()], [], [])[0]:
        try:
            if fd == tap:
                card.send(os.read(tap, 65536)[10:])
            else:
                os.write(tap, bytes(10) + card.recv(65536))
        except OSError:  # a device that is down, or a frame too long for it
            pass
"""


@contextmanager
def plugged(where: Namespace, hypervisor: int, tap: int, device: str) -> Iterator[None]:
    """
    Carry frames between a tap and a device while the context lasts.

    :param hypervisor: its process id
    :param tap: the descriptor's number there
    :param device: in *where*
    """
    argv = (sys.executable, "-I", "-S", "-c", _CABLE, str(hypervisor), str(tap), device)
    with where.popen(*argv) as process:

        def ready() -> bool:
            process.require_running()
            return "plugged in" in process.output()

        until(ready, 10, "the cable to be plugged in", detail=process.output)
        yield
