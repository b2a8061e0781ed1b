"""The responder as a process: its configuration, its way into the background, its loop."""

from __future__ import annotations

import marshal
import os
import select
import sys
import time
from types import SimpleNamespace

from . import frame, link, privileges
from .claim import Claim
from .dhcp6 import Server
from .log import Log
from .router import REFRESH_SECONDS, Router

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vmnet_dnsmasq.helper import Config
    from vmnet_dnsmasq.ipv6 import Nic

_NAME = "vmnet-responder"  # in ps(1)
_NEEDS = "leave the container its NET_RAW capability"
_CONTAINERS_LOG = 3  # a descriptor that vmnet gives to what it starts (vmnet.process.run)
_PAUSE_SECONDS = 0.005  # after each frame, so that a guest which floods costs little
_SETTLE_SECONDS = 0.2  # a tap that has gone down may be on its way out


class Port:
    """A tap, and what is said on it.

    :ivar due: when :meth:`wake` is to be called, by the clock of ``time.monotonic``
    """

    def __init__(self, nic: Nic) -> None:
        self._tap = link.tap(nic.tap, frame.mac(nic.guest))
        self.links = (self._tap,)
        self._router, self._server = Router(nic), Server(nic)
        self.due = time.monotonic() + REFRESH_SECONDS

    def serve(self) -> None:
        """Answer a frame."""
        packet = frame.read(self._tap.receive())
        if packet is not None:
            self._send(self._router.answer(packet) or self._server.answer(packet))

    def wake(self) -> None:
        """Say again what is known for a while only."""
        self.due += REFRESH_SECONDS
        self._send(self._router.advertisements)

    def _send(self, frames: list[bytes]) -> None:
        for one in frames:
            self._tap.send(one)


def main(path: str) -> None:
    """Serve in the background; exit in the foreground when that has begun.

    :param path: of the configuration, see :class:`vmnet_dnsmasq.helper.Config`
    """
    config = _load(path)
    containers_log = _containers_log()
    own_log = os.open(config.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    log = Log(containers_log or own_log, config.is_json)
    try:
        ports: list[Port | Claim] = list(map(Port, config.nics))
    except PermissionError:
        sys.exit(f"no permission for packet sockets: {_NEEDS}")
    try:
        ports += [Claim(one, log) for one in config.own]
    except PermissionError:  # a fixed address is no reason to demand it
        log.warn("nobody watches whether others claim the bridge's address", _NEEDS)
    if not ports:
        return
    pidfile = os.open(config.pidfile, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    if pid := os.fork():
        os.write(pidfile, b"%d\n" % pid)
        os._exit(0)  # at once: the sockets are the child's now
    os.close(pidfile)
    _leave_foreground(own_log)
    if config.own:
        privileges.put_aside()
    else:
        privileges.shed()
    serve(ports)


def serve(ports: list[Port | Claim]) -> None:
    """Until a device has gone: the machine behind it has ended, and with it all others."""
    waiting = select.poll()
    by_number = {link.fileno(): port for port in ports for link in port.links}
    for number in by_number:
        waiting.register(number, select.POLLIN)
    while all(link.exists() for port in ports for link in port.links):
        left = min(port.due for port in ports) - time.monotonic()
        for number, event in waiting.poll(min(max(left, 0), REFRESH_SECONDS) * 1000 + 1):
            by_number[number].serve()
            time.sleep(_PAUSE_SECONDS if event == select.POLLIN else _SETTLE_SECONDS)
        for port in ports:
            if port.due <= time.monotonic():
                port.wake()


def _load(path: str) -> Config:
    """The configuration, read by a child: a parser of JSON would stay in memory as long as we."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        import json

        with os.fdopen(os.open(path, os.O_RDONLY)) as file, os.fdopen(writing, "wb") as to:
            marshal.dump(json.load(file), to)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(status)  # it has said why
    fields = marshal.loads(content)
    lists = {name: list(map(_named, fields[name])) for name in ("nics", "own")}
    config: Config = _named({**fields, **lists})
    return config


def _named(fields: dict[str, Any]) -> Any:
    return SimpleNamespace(**fields)


def _containers_log() -> int | None:
    """None where it was not vmnet that started us."""
    try:
        os.fstat(_CONTAINERS_LOG)
    except OSError:
        return None
    return _CONTAINERS_LOG


def _leave_foreground(log: int) -> None:
    """Without a terminal or a folder: the sockets are all it needs."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream, target in ((0, null), (1, null), (2, log)):
        os.dup2(target, stream)
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(comm, _NAME.encode())
    os.close(null)
    os.close(comm)
