"""What a start saves before its first change, so that the next one can undo it.

A Kubernetes pod keeps its network namespace when a container in it restarts, and a start can be
killed at any moment. The saved wiring, which holds the NICs exactly as they were, is the way back.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
from pathlib import Path

from vmnet.errors import StateError
from vmnet.identity import Identity
from vmnet.lifecycle import files
from vmnet.noun import Noun, noun
from vmnet.serial import from_json, plain
from vmnet.wiring import Wiring

VERSION = 1
_FILE = "state.json"
_SO_NETNS_COOKIE = 71  # socket(7), Linux 5.14
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETNS = Path("/proc/self/ns/net")


@noun
class State(Noun):
    """:param namespace: which network namespace this describes, and of which boot"""

    version: int
    namespace: str
    identity: Identity
    wiring: Wiring


def save(run_dir: Path, identity: Identity, wiring: Wiring) -> None:
    """Write the state to the disk.

    :raises StateError: the run directory can't be written
    """
    state = State(VERSION, _namespace(), identity, wiring)
    files.write(run_dir / _FILE, json.dumps(plain(state)).encode(), durable=True)


def load(run_dir: Path) -> State | None:
    """The saved state; None where there is none for this network namespace.

    :raises StateError: there is one, but it can't be read
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
            "it holds the network's original configuration; restart the pod or container anew "
            f"and remove it with `rm {path}`",
        ) from None


def _is_ours(document: object) -> bool:
    """Whether it is of this version and namespace; what can't be told apart is read, and refused.

    The version goes first: the rest may have another form in another one.
    """
    if not isinstance(document, dict) or not {"version", "namespace"} <= document.keys():
        return True
    return (document["version"], document["namespace"]) == (VERSION, _namespace())


def discard(run_dir: Path) -> None:
    """Forget the state: the network is as it was."""
    (run_dir / _FILE).unlink(missing_ok=True)


def allocations(run_dir: Path) -> Path:
    """Where :mod:`vmnet.lifecycle.allocation` keeps its record."""
    return run_dir / "allocations.json"


def _namespace() -> str:
    """What tells this network namespace from every other of this boot, and of others.

    Not its inode number where there is better: the kernel gives it to a new namespace when the old
    one has gone.

    :raises StateError: the kernel refuses to tell
    """
    boot = _BOOT_ID.read_text().strip()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise StateError(
                f"can't tell this network namespace from others: {error.strerror}",
                "does the engine's seccomp profile allow Unix sockets?",
            ) from None
        return f"{boot} inode {_NETNS.stat().st_ino}"
    return f"{boot} {int.from_bytes(cookie, sys.byteorder)}"
