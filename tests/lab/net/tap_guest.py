"""Connect a namespace to a VM's tap, so that its frames pass the tap's filters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..wait import WAIT, until
from .namespace import Namespace, namespace

# A separate process, because the hypervisor lacks the privileges. It copies the tap's descriptor
# from the hypervisor (pidfd_getfd(2)). The tap precedes each frame with a virtio-net header of ten
# bytes, which are zero without offloads.
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
        except OSError:  # the device is down, or the frame is too long
            pass
"""


_WIRE = "wire"


@contextmanager
def behind_tap(hypervisor: int, mac: str, *, tap: int = 100) -> Iterator[Namespace]:
    """
    Make a namespace whose ``eth0`` takes the place of a VM's NIC. It has a MAC and no address.

    :param hypervisor: the process ID of the hypervisor that has opened the tap
    :param tap: number of the tap's descriptor in the hypervisor
    """
    with namespace("guest") as made:
        made.sysctl(net__ipv6__conf__default__accept_dad=0)
        made.ip("link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", _WIRE)
        # The cable does not compute checksums or split segments, so the kernel must.
        made.run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off")
        made.sysctl(**{f"net__ipv6__conf__{_WIRE}__disable_ipv6": 1})
        for link in (_WIRE, "eth0"):
            made.ip("link", "set", link, "up")
        argv = (sys.executable, "-I", "-S", "-c", _CABLE, str(hypervisor), str(tap), _WIRE)
        with made.popen(*argv) as process:

            def ready() -> bool:
                process.require_running()
                return "plugged in" in process.output()

            until(ready, WAIT, "the cable to be plugged in", detail=process.output)
            made.await_carriers("eth0", _WIRE)
            yield made
