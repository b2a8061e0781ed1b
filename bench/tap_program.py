"""A program in QEMU's place: it exchanges frames by a tap, or tests a TCP connection.

It runs in a namespace without vmnet: ``tap_program.py PID FD MODE …``, where PID has opened the tap
as FD.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
import threading
import time

_PIDFD_GETFD = 438
_PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _SOL_PACKET, _ETH_P_ALL = 15, 23, 263, 3
_SO_RCVBUFFORCE = 33
_TUNSETOFFLOAD, _CSUM_TSO4_TSO6 = 0x400454D0, 7
_HEADER = bytes(10)
_LONGEST = 1 << 17


def main(pid: str, number: str, mode: str, *words: str) -> None:
    match mode, words:
        case "cable", (device,):
            _cable(_tap(int(pid), int(number)), device)
        case "send", (header, source, target, seconds):
            frame = bytes.fromhex(header) + _packet(source, target)
            _send(_tap(int(pid), int(number)), _HEADER + frame, float(seconds))
        case "receive", (port,):
            _receive(int(port))
        case "stream", (address, port, seconds):
            _stream(address, int(port), float(seconds))


def _tap(pid: int, number: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_PIDFD_GETFD, os.pidfd_open(pid), number, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return fd


def _cable(tap: int, device: str) -> None:
    """Connect the tap to a device; headers of virtio-net carry the offloads."""
    fcntl.ioctl(tap, _TUNSETOFFLOAD, _CSUM_TSO4_TSO6)
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    card.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    card.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    card.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
    card.bind((device, _ETH_P_ALL))
    threading.Thread(target=_copy, args=(tap, card.fileno()), daemon=True).start()
    print("ready", flush=True)
    _copy(card.fileno(), tap)


def _copy(source: int, target: int) -> None:
    while True:
        frame = os.read(source, _LONGEST)
        try:
            os.write(target, frame)
        except OSError:  # the other side's queue is full: the network may drop frames
            continue


def _packet(source: str, target: str) -> bytes:
    """Return an IPv4 packet with a UDP datagram to the discard port."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0, 64, socket.IPPROTO_UDP, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHH", 9, 9, 26, 0) + bytes(18)


def _send(tap: int, frame: bytes, seconds: float) -> None:
    """Send for some seconds of CPU time, which other programs' load does not shorten."""
    start = time.process_time()
    while (passed := time.process_time() - start) < seconds:
        for _ in range(100):
            os.write(tap, frame)
    print(passed)


def _receive(port: int) -> None:
    with socket.create_server(("", port)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
        start, received = time.perf_counter(), 0
        while data := connection.recv(1 << 20):
            received += len(data)
        print(received * 8 / 1e6 / (time.perf_counter() - start), flush=True)


def _stream(address: str, port: int, seconds: float) -> None:
    data, end = bytes(1 << 18), time.perf_counter() + seconds
    with socket.create_connection((address, port), 5) as connection:
        while time.perf_counter() < end:
            connection.sendall(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
