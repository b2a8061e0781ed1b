"""Delivery: how an IPAM strategy gets the identity to the guest. Pure data.

A strategy says which files and daemons it needs; the pipeline makes them, and unmakes them when
the start fails, so that no strategy needs clean-up code of its own.
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
    """A helper that outlives the start, beside the hypervisor.

    :param argv: a program that puts itself into the background once it is ready, or exits
        with a status other than 0 and says why on its standard error
    :param pidfile: where it writes its process id
    :param log: where its log goes, for the error message when it fails; one in the folder of the
        pidfile is removed at each start
    :param follows: files that it depends on, which others may change while the VM runs
    :param refresh: a program that runs after such a change, and ends within ten seconds with status
        0; its output and standard error go to the container's log
    """

    name: str
    argv: tuple[str, ...]
    pidfile: Path
    log: Path | None = None
    follows: tuple[Path, ...] = ()
    refresh: tuple[str, ...] = ()


@frozen
class Delivery:
    """What one strategy contributes.

    :param not_carried: one line for each part of the identity that this strategy can't hand over
    """

    strategy: str
    files: tuple[File, ...] = ()
    daemons: tuple[Daemon, ...] = ()
    not_carried: tuple[str, ...] = ()


@frozen
class Handover:
    """What has become of one interface's identity since the start.

    :param interface: its name in the container
    :param done: whether the guest has it; None where that can't be known
    :param detail: what is known, in a few words
    """

    interface: str
    done: bool | None
    detail: str
