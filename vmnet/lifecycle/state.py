"""The state that a start saves before its first change, so that the next start can undo it.

A Kubernetes pod keeps its network namespace when a container in it restarts, and a start can be
killed at any moment. The saved wiring contains everything that restores the NICs.

The state is in a file of the run directory. A copy is in the network namespace, and is read if
there is no such file: without a volume, the run directory goes with the container.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import sys
from collections.abc import Container
from pathlib import Path

from vmnet.errors import StateError
from vmnet.lifecycle import files, packing
from vmnet.model.base import frozen
from vmnet.model.identity import Identity
from vmnet.model.serial import from_json, plain
from vmnet.model.wiring import Wiring
from vmnet.net import namespace_record

_log = logging.getLogger(__name__)
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
    """Write the state to the disk and sync it, and copy it to the network namespace.

    :raises StateError: the run directory can't be written
    """
    document = json.dumps(plain(State(VERSION, _namespace(), identity, wiring))).encode()
    files.write(run_dir / _FILE, document, durable=True)
    if _has_taps(wiring):
        try:
            namespace_record.save(packing.pack(document))
        except OSError as error:
            _log.debug("no copy of the state in the network namespace: %s", error.strerror or error)


def load(run_dir: Path, restorers: Container[str]) -> State | None:
    """Return the saved state of this network namespace, or None if there is none.

    :param restorers: the strategies that can restore a network
    :raises StateError: the file can't be read
    """
    return _read_file(run_dir / _FILE) or _read_copy(restorers)


def _read_file(path: Path) -> State | None:
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


def _read_copy(restorers: Container[str]) -> State | None:
    """Return the state from the network namespace; None if a VM uses it now.

    Any program with NET_ADMIN in the namespace can have written it.
    """
    try:
        packed = namespace_record.load()
    except OSError as error:
        _log.debug("can't read the copy of the state: %s", error.strerror or error)
        return None
    if packed is None:
        return None
    try:
        text = packing.unpack(packed).decode()
        if not _is_ours(json.loads(text)):
            return None
        found = from_json(text, State)
        _require_sound(found, restorers)
    except (ValueError, RecursionError) as error:
        _log.warning(
            "the copy of the saved state in the network namespace is ignored: %s",
            error,
            extra={
                "event": "network.record_ignored",
                "hint": f"`nft delete table ip {namespace_record.TABLE}` removes it",
            },
        )
        return None
    return None if _is_in_use(found.wiring) else found


def _require_sound(found: State, restorers: Container[str]) -> None:
    """:raises ValueError: a start can't have written the state, or this one can't use it"""
    from vmnet.model.validation import wiring_fault
    from vmnet.net.restore import soundness

    if not _has_taps(found.wiring):
        raise ValueError("a port has no tap")
    if fault := wiring_fault(found.wiring, found.identity):
        raise ValueError(fault)
    if found.wiring.strategy not in restorers:
        raise ValueError(f"there is no strategy {found.wiring.strategy!r} that could restore it")
    for port in found.wiring.ports:
        soundness.require_sound(port.saved)


def _has_taps(wiring: Wiring) -> bool:
    """Return whether each port has a tap, which exists while the VM runs."""
    return all(port.tap is not None for port in wiring.ports)


def _is_in_use(wiring: Wiring) -> bool:
    """Return whether a VM uses the wiring, in this container or in another."""
    from vmnet.net import links

    return any(port.tap is not None and links.exists(port.tap.name) for port in wiring.ports)


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
    try:
        namespace_record.remove()
    except OSError as error:  # there was no permission, or no nftables, to write it either
        _log.debug("can't remove the copy of the state: %s", error.strerror or error)


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
