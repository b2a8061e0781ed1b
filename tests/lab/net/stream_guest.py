"""Connect a namespace to a Unix stream socket of frames, as QEMU's ``-netdev stream`` does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..wait import WAIT, until
from .namespace import Namespace, namespace

# Each frame on the socket follows its length, in four bytes. If the helper ends, the cable connects
# again, as QEMU 8 does.
_CABLE = """
import ctypes, os, select, socket, sys, time
path, device, container = sys.argv[1:]
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
card.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
card.bind((device, 3))
# QEMU is in the container's namespace, to which the kernel counts the connection.
assert ctypes.CDLL(None).setns(os.open(container, os.O_RDONLY), 0) == 0
def connected():
    while True:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(path)
            print("plugged in", flush=True)
            return stream
        except OSError:
            stream.close()
            time.sleep(0.1)
def read(stream, count):
    data = b""
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data
while True:
    stream = connected()
    try:
        while True:
            for ready in select.select([stream, card], [], [])[0]:
                if ready is card:
                    frame = card.recv(65536)
                    stream.sendall(len(frame).to_bytes(4, "big") + frame)
                else:
                    frame = read(stream, int.from_bytes(read(stream, 4), "big"))
                    try:
                        card.send(frame)
                    except OSError:  # the device is down, or the frame is too long
                        pass
    except ConnectionError:
        stream.close()
"""
_WIRE = "wire"


@contextmanager
def behind_stream(container: Namespace, path: Path) -> Iterator[Namespace]:
    """Make a namespace whose ``eth0`` takes the place of a VM's NIC. It has no address.

    :param path: the socket, at which a program of the container listens
    """
    with namespace("guest") as made:
        made.sysctl(net__ipv6__conf__default__accept_dad=0)
        made.ip(
            "link", "add", "eth0", "address", container.mac, "type", "veth", "peer", "name", _WIRE
        )
        # The cable does not compute checksums or split segments, so the kernel must.
        made.run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off")
        made.sysctl(**{f"net__ipv6__conf__{_WIRE}__disable_ipv6": 1})
        for link in ("lo", _WIRE, "eth0"):
            made.ip("link", "set", link, "up")
        argv = (sys.executable, "-I", "-S", "-c", _CABLE, str(path), _WIRE, str(container.path))
        with made.popen(*argv) as process:

            def ready() -> bool:
                process.require_running()
                return "plugged in" in process.output()

            until(ready, WAIT, "the cable to be plugged in", detail=process.output)
            made.await_carriers("eth0", _WIRE)
            yield made
