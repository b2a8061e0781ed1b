"""The state that a start saves before its first change, so that the next start can undo it.

A Kubernetes pod keeps its network namespace when a container in it restarts, and a start can be
killed at any moment. The saved wiring contains everything that restores the NICs.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
from pathlib import Path

from vmnet.errors import StateError
from vmnet.lifecycle import files
from vmnet.model.base import frozen
from vmnet.model.identity import Identity
from vmnet.model.serial import from_json, plain
from vmnet.model.wiring import Wiring

VERSION = 2
_FILE = "state.json"
_SO_NETNS_COOKIE = 71  # socket(7), Linux 5.14
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETNS = Path("/proc/self/ns/net")


@frozen
class State:
    """The network before a start, and how the start changed it.

    :param namespace: identifies the network namespace and the boot
    """

    version: int
    namespace: str
    identity: Identity
    wiring: Wiring


def save(run_dir: Path, identity: Identity, wiring: Wiring) -> None:
    """Write the state to the disk and sync it.

    :raises StateError: the run directory can't be written
    """
    state = State(VERSION, _namespace(), identity, wiring)
    files.write(run_dir / _FILE, json.dumps(plain(state)).encode(), durable=True)


def load(run_dir: Path) -> State | None:
    """Return the saved state of this network namespace, or None if there is none.

    :raises StateError: the state can't be read
    """
    path = run_dir / _FILE
    try:
        text = files.read(path).decode()
        if not _is_ours(json.loads(text)):
            return None
        return from_json(text, State)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(
            f"can't read {path}: {error}",
            "it contains the network's original configuration; create the pod or container anew "
            f"and remove the file with `rm {path}`",
        ) from None


def _is_ours(document: object) -> bool:
    """Return whether the state is of this version and namespace.

    A document without version or namespace counts as ours, so that :func:`load` reports an error.
    The version is compared first, because another version may have another structure.
    """
    if not isinstance(document, dict) or not {"version", "namespace"} <= document.keys():
        return True
    return (document["version"], document["namespace"]) == (VERSION, _namespace())


def discard(run_dir: Path) -> None:
    """Remove the state, after the network has been restored."""
    (run_dir / _FILE).unlink(missing_ok=True)


def allocations_path(run_dir: Path) -> Path:
    """Return the path of :mod:`vmnet.lifecycle.allocation`'s record."""
    return run_dir / "allocations.json"


def _namespace() -> str:
    """Return text that identifies this network namespace across boots.

    The inode number is only the fallback, because the kernel reuses it for a new namespace.

    :raises StateError: the kernel does not identify the namespace
    """
    boot = _BOOT_ID.read_text().strip()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise StateError(
                f"can't identify this network namespace: {error.strerror}",
                "does the engine's seccomp profile allow Unix sockets?",
            ) from None
        return f"{boot} inode {_NETNS.stat().st_ino}"
    return f"{boot} {int.from_bytes(cookie, sys.byteorder)}"
