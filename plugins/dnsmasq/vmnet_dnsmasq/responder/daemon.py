"""The responder as a process: its configuration, its way into the background, its loop."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from types import SimpleNamespace

from . import frame
from .dhcp6 import Server
from .router import REFRESH_SECONDS, Router
from .tap import Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.ipv6 import Config, Nic

_NAME = "vmnet-ipv6"  # in ps(1)
_PAUSE_SECONDS = 0.005  # after each frame, so that a guest which floods costs little
_SETTLE_SECONDS = 0.2  # a tap that has gone down may be on its way out
_NOBODY = 65534


class Port:
    """A tap, and what is said on it."""

    def __init__(self, nic: Nic) -> None:
        self.tap = Tap(nic.tap, frame.mac(nic.guest))
        self.router, self.server = Router(nic), Server(nic)

    def serve(self) -> None:
        """Answer a frame."""
        packet = frame.read(self.tap.receive())
        if packet is not None:
            self.send(self.router.answer(packet) or self.server.answer(packet))

    def send(self, frames: list[bytes]) -> None:
        for one in frames:
            self.tap.send(one)


def main(path: str) -> None:
    """Serve in the background; exit in the foreground when that has begun.

    :param path: of the configuration, see :class:`vmnet_dnsmasq.ipv6.Config`
    """
    config = _load(path)
    try:
        ports = [Port(nic) for nic in config.nics]
    except PermissionError:
        sys.exit("no permission for packet sockets: leave the container its NET_RAW capability")
    pidfile = os.open(config.pidfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    log = os.open(config.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if pid := os.fork():
        os.write(pidfile, b"%d\n" % pid)
        os._exit(0)  # at once: the sockets are the child's now
    os.close(pidfile)
    _leave_foreground(log)
    serve(ports)


def serve(ports: list[Port]) -> None:
    """Until a tap has gone: the machine behind it has ended, and with it all others."""
    waiting = select.poll()
    by_number = {port.tap.fileno(): port for port in ports}
    for number in by_number:
        waiting.register(number, select.POLLIN)
    refresh_at = time.monotonic() + REFRESH_SECONDS
    while all(port.tap.exists() for port in ports):
        left = refresh_at - time.monotonic()
        if left <= 0:
            refresh_at += REFRESH_SECONDS
            for port in ports:
                port.send(port.router.advertisements)
        for number, event in waiting.poll(max(left, 0) * 1000):
            by_number[number].serve()
            time.sleep(_PAUSE_SECONDS if event == select.POLLIN else _SETTLE_SECONDS)


def _load(path: str) -> Config:
    with os.fdopen(os.open(path, os.O_RDONLY)) as file:
        config: Config = json.load(file, object_hook=lambda fields: SimpleNamespace(**fields))
    return config


def _leave_foreground(log: int) -> None:
    """Without a terminal, a folder or a privilege: the sockets are all it needs."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream, target in ((0, null), (1, null), (2, log)):
        os.dup2(target, stream)
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(comm, _NAME.encode())
    for one in (null, log, comm):
        os.close(one)
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except OSError:  # no SETUID here: then root has few privileges to lose
        pass
