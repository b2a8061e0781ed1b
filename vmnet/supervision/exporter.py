"""The exporter: serve the VM's metrics to Prometheus, for VMNET_METRICS.

It has two processes. The one that parses the requests of the network
(:mod:`vmnet.supervision.exporter_http`) is an unprivileged user, and a program of its own with an
empty environment, because that of the start may contain passwords. The other is root, as the
sockets of the VM require: for each byte from the first it runs a program that prints the metrics,
and sends the text back. Each ends when the other does.
"""

from __future__ import annotations

import os
import socket
import sys

from . import ends, pidfiles, process_name, spawning
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "metrics"
PIDFILE = "metrics.pid"
MAX_BYTES = 1 << 20
_COLLECT_SECONDS, _END_SECONDS = 8.0, 5.0
_BACKLOG, _SIGKILL = 16, 9
_CONTAINERS_LOG = 3  # see vmnet.process.run


def arguments(
    pidfile: object,
    form: str,
    port: int,
    addresses: Sequence[str],
    answering: Sequence[str],
    printing: Sequence[str],
) -> tuple[object, ...]:
    """Return the arguments of :func:`main`.

    :param form: of the log: text or json
    :param addresses: IP addresses, a link-local one of IPv6 with its device: ``fe80::1%br0``
    :param answering: the program of :mod:`vmnet.supervision.exporter_http`
    :param printing: a program that prints the metrics
    """
    places = ",".join(addresses)
    return (pidfile, form, port, places, len(answering), *answering, *printing)


def main(pidfile: str, form: str, port: str, addresses: str, count: str, *words: str) -> None:
    """Serve in the background as long as the VM runs; see :func:`arguments`."""
    answering, printing = words[: int(count)], words[int(count) :]
    try:
        listeners = [listening(address, int(port)) for address in addresses.split(",")]
    except OSError as error:
        sys.exit(f"can't listen on port {port} of {addresses}: {error.strerror}")
    ready, done = os.pipe()
    if os.fork():
        os.close(done)
        os.read(ready, 1)  # until the PID is written, or the child has failed
        return
    os.setsid()
    log = Log(form, NAME, _leave_foreground())
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        for listener in listeners:
            listener.close()
        process_name.set_own("vmnet-metrics")
        pidfiles.write(pidfile, os.getpid(), log)
        for fd in (ready, done):
            os.close(fd)
        collect(ours, printing, log)
        return
    for fd in (ready, done, ours.detach()):
        os.close(fd)
    inherited = [each.detach() for each in (theirs, *listeners)]
    for fd in inherited:
        os.set_inheritable(fd, True)
    os.execve(answering[0], [*answering, form, *map(str, inherited)], {})


def listening(address: str, port: int) -> socket.socket:
    """Return a socket that listens on an address, which may end with ``%`` and a device.

    :raises OSError: the kernel refuses, such as for an address in use
    """
    host, _, device = address.partition("%")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place: tuple[str | int, ...] = (host, port)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        place = (host, port, 0, socket.if_nametoindex(device) if device else 0)
    try:
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _leave_foreground() -> int:
    """Send the standard streams to the container's log or nowhere; return the log's descriptor."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(_CONTAINERS_LOG, 2)
    os.close(_CONTAINERS_LOG)
    for stream in (0, 1):
        os.dup2(null, stream)
    os.close(null)
    return 2


def collect(requests: socket.socket, argv: Sequence[str], log: Log) -> None:
    """Answer requests, each a byte, with the length of the metrics and their text.

    The answer to a failure is an empty text. The first of several is logged.
    """
    has_failed = False
    while requests.recv(1):
        try:
            text, failure = _printed(argv), "it printed nothing"
        except OSError as error:
            text, failure = b"", str(error)
        if not text and not has_failed:
            log.error(f"can't read the VM's metrics: {failure}", event="metrics.failed")
        has_failed = not text
        requests.sendall(len(text).to_bytes(4, "big") + text)


def _printed(argv: Sequence[str]) -> bytes:
    """Return what a program prints.

    :raises OSError: it can't be started, fails, or takes too long
    """
    output = os.memfd_create("metrics")
    try:
        pid = spawning.spawn(argv, (), session=True, output=output)
        end = os.pidfd_open(pid)
        try:
            is_done = ends.await_end(end, _COLLECT_SECONDS)
            if not is_done:
                os.killpg(pid, _SIGKILL)
                ends.await_end(end, _END_SECONDS)
        finally:
            os.close(end)
        status = ends.exit_status(pid)
        if not is_done:
            raise TimeoutError(f"it takes longer than {_COLLECT_SECONDS:g} s")
        if status:
            raise OSError(f"it failed ({ends.describe(status)})")
        return os.pread(output, MAX_BYTES, 0)
    finally:
        os.close(output)
