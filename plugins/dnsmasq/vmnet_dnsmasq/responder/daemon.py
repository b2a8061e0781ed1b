"""The responder's process: load the configuration, go to the background, serve."""

from __future__ import annotations

import marshal
import os
import select
import sys
import time
from types import SimpleNamespace

from vmnet.net import packets
from vmnet.supervision import process_name
from vmnet.supervision.log import Log

from . import frame, link, privileges
from .defended_address import DefendedAddress
from .dhcp6 import Server
from .router import REFRESH_SECONDS, Router

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vmnet_dnsmasq.ipv6 import Ipv6Nic
    from vmnet_dnsmasq.responder_delivery import Config

_NAME = "vmnet-responder"
_REMEDY = "leave the container its NET_RAW capability"
_SIGKILL, _NEVER = 9, float("inf")
_CONTAINERS_LOG = 3  # the descriptor that vmnet.process.run passes to a child
_PAUSE_SECONDS = 0.005  # after each frame: limits the CPU time that a flooding guest costs
_SETTLE_SECONDS = 0.2  # a tap that goes down may be about to be deleted


class GuestTap:
    """A tap, with its router and its DHCPv6 server.

    :ivar due: when to call :meth:`wake`, by the clock of ``time.monotonic``
    """

    def __init__(self, nic: Ipv6Nic) -> None:
        self.link = self._tap = link.tap(nic.tap, packets.mac_bytes(nic.guest))
        self._router, self._server = Router(nic), Server(nic)
        self.due = time.monotonic() + REFRESH_SECONDS

    def serve(self) -> None:
        """Receive a frame and answer it."""
        packet = frame.read(self._tap.receive())
        if packet is not None:
            self._send(self._router.answer(packet) or self._server.answer(packet))

    def wake(self) -> None:
        """Send the router advertisements again, because their lifetime is limited."""
        self.due += REFRESH_SECONDS
        self._send(self._router.advertisements)

    def _send(self, frames: list[bytes]) -> None:
        for answer in frames:
            self._tap.send(answer)


def main(path: str) -> None:
    """Serve in the background; exit in the foreground when the service is ready.

    :param path: the configuration file, see :class:`vmnet_dnsmasq.responder_delivery.Config`
    """
    config = _load(path)
    containers_log = _containers_log()
    own_log = _open(config.log, os.O_APPEND)
    log = Log(config.log_form, stream=containers_log or own_log)
    try:
        services: list[GuestTap | DefendedAddress] = list(map(GuestTap, config.nics))
        taps = [link.watch(address.tap) for address in config.bridge_addresses]
        services += [
            DefendedAddress(address, log)
            for address in config.bridge_addresses
            if link.is_there(address.bridge)
        ]
    except PermissionError:
        sys.exit(f"no permission for packet sockets: {_REMEDY}")
    pidfile = _open(config.pidfile, os.O_TRUNC)
    if pid := os.fork():
        try:
            os.write(pidfile, b"%d\n" % pid)
        except OSError as error:
            os.kill(pid, _SIGKILL)
            sys.exit(f"cannot write {config.pidfile}: {error.strerror}")
        os._exit(0)  # without cleanup: the sockets belong to the child
    os.close(pidfile)
    _leave_foreground(own_log)
    if config.bridge_addresses:
        privileges.put_aside()
    else:
        privileges.shed()
    serve(services, taps)


def serve(services: list[GuestTap | DefendedAddress], taps: list[link.Link]) -> None:
    """Serve until a tap is gone, which means that the VM has ended or lost a NIC.

    A device next to a redirected NIC goes with the NIC, while the tap stays.

    :param taps: further taps to watch
    """
    taps = [*taps, *(service.link for service in services if isinstance(service, GuestTap))]
    waiting = select.poll()
    by_number: dict[int, Callable[[], object]] = {
        service.link.fileno(): service.serve for service in services
    }
    for tap in taps:
        by_number.setdefault(tap.fileno(), tap.receive)
    for number in by_number:
        waiting.register(number, select.POLLIN)
    while all(tap.exists() for tap in taps):
        for service in services[:]:
            if not service.link.exists():
                waiting.unregister(service.link.fileno())
                services.remove(service)
        left = min((service.due for service in services), default=_NEVER) - time.monotonic()
        for number, event in waiting.poll(min(max(left, 0), REFRESH_SECONDS) * 1000 + 1):
            by_number[number]()
            time.sleep(_PAUSE_SECONDS if event == select.POLLIN else _SETTLE_SECONDS)
        for service in services:
            if service.due <= time.monotonic():
                service.wake()


def _open(path: str, flag: int) -> int:
    """Open a file of the run directory for writing, and create it if necessary."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o644)
    except OSError as error:
        sys.exit(f"cannot write {path}: {error.strerror}")


def _load(path: str) -> Config:
    """Load the configuration in a child, so that the JSON parser does not stay in memory."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        import json

        try:
            with os.fdopen(os.open(path, os.O_RDONLY)) as file, os.fdopen(writing, "wb") as to:
                marshal.dump(json.load(file), to)
        except (OSError, ValueError) as error:
            os.write(2, f"cannot read {path}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(status)  # the child has printed the reason
    fields = marshal.loads(content)
    lists = {name: list(map(_namespace, fields[name])) for name in ("nics", "bridge_addresses")}
    config: Config = _namespace({**fields, **lists})
    return config


def _namespace(fields: dict[str, Any]) -> Any:
    return SimpleNamespace(**fields)


def _containers_log() -> int | None:
    """Return the descriptor of the container's log; None if vmnet did not start this process."""
    try:
        os.fstat(_CONTAINERS_LOG)
    except OSError:
        return None
    return _CONTAINERS_LOG


def _leave_foreground(log: int) -> None:
    """Detach from the terminal and the working folder; send standard error to the log."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream, target in ((0, null), (1, null), (2, log)):
        os.dup2(target, stream)
    process_name.set_own(_NAME)
    os.close(null)
