"""Deliveries: how an IPAM strategy passes the identity to the guest. Pure data.

A strategy lists the files and daemons that it needs. The start creates them and removes them if it
fails, so strategies need no clean-up code.
"""

from __future__ import annotations

from pathlib import Path

from vmnet.model.base import frozen


@frozen
class File:
    """A file below the run directory.

    :param mode: permission bits
    """

    path: Path
    content: bytes
    mode: int = 0o600


@frozen
class Daemon:
    """A helper process that runs as long as the VM.

    :param argv: a program that moves to the background once it is ready, or exits with a status
        other than 0 and prints the reason on standard error
    :param pidfile: the file to which the daemon writes its process ID
    :param log: the daemon's log file, which the error message quotes if the daemon fails. A log in
        the folder of the pidfile is removed at each start
    :param follows: files that the daemon depends on and that can change while the VM runs
    :param refresh: a program to run after such a change. It must exit within ten seconds with
        status 0; its output goes to the container's log
    :param capabilities: names of capabilities(7) that the container must have for it, such as
        ``NET_RAW``
    :param may_end: whether the program may exit with status 0 and write no process ID, because it
        has nothing to do
    :param resumes: whether the keeper starts it again when it ends; otherwise the VM is unhealthy
    :param late: the start does not wait for it: the keeper starts it next to the VM, and starts it
        again if that fails
    """

    name: str
    argv: tuple[str, ...]
    pidfile: Path
    log: Path | None = None
    follows: tuple[Path, ...] = ()
    refresh: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    may_end: bool = False
    late: bool = False
    resumes: bool = True


@frozen
class Delivery:
    """The files and daemons of one strategy.

    :param not_carried: one line for each part of the identity that this strategy cannot hand over
    """

    strategy: str
    files: tuple[File, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    not_carried: tuple[str, ...] = ()


@frozen
class Handover:
    """Whether the guest has received the identity of an interface.

    :param interface: the interface's name in the container
    :param done: whether the guest has the identity; None if vmnet cannot know
    :param detail: a few words to display, such as the lease
    """

    interface: str
    done: bool | None
    detail: str
