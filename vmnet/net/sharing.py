"""Find programs of other containers in this network namespace.

/proc shows the processes of this container's PID namespace, but the sockets of the whole network
namespace. A netlink socket proves nothing: Docker's daemon keeps one in each container's namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vmnet.net import inet_sockets

_PROC = Path("/proc")
_TABLES = Path("thread-self/net")
# Tables of sockets (proc_pid_net(5)): a name for people, and the position of the inode in a line.
_SOCKETS = {
    "packet": ("a packet socket", 8),
    "raw": ("a raw socket", 9),
    "raw6": ("a raw socket", 9),
    "icmp": ("a ping socket", 9),
    "icmp6": ("a ping socket", 9),
    "unix": ("a Unix socket", 6),
}
# The first process of a pod keeps the network namespace and uses nothing of it.
_PAUSE = ("catatonit", "pause")


def evidence() -> str:
    """Return what other programs have in this network namespace; empty if nothing is found.

    TCP and UDP sockets count for programs of this container, too. An idle program in another PID
    namespace that has no socket is not found.
    """
    if inet_sockets.is_used():
        return "a TCP or UDP socket"
    if any(_processes_of_others()):
        return "a process of another container"
    found = dict(_sockets())
    own = _inodes_of_visible_processes() if found else frozenset()
    return next((name for inode, name in found.items() if inode not in own), "")


def _processes_of_others() -> Iterator[int]:
    """Yield visible processes of other containers, as in a pod with shareProcessNamespace."""
    own = _PROC / "thread-self" / "ns"
    try:
        network, mounts = (own / "net").readlink(), (own / "mnt").readlink()
    except OSError:  # then no process can be compared
        return
    for process in _processes():
        with suppress(OSError):  # it has ended, or its container has more privileges
            if (process / "ns" / "net").readlink() != network:
                continue
            name = (process / "comm").read_text().strip()
            if (process / "ns" / "mnt").readlink() != mounts and name not in _PAUSE:
                yield int(process.name)


def _sockets() -> Iterator[tuple[int, str]]:
    """Yield the inode and the kind of each socket that an application has opened."""
    for table, (name, position) in _SOCKETS.items():
        with suppress(OSError):  # a kernel without this protocol, or a /proc without the table
            for line in (_PROC / _TABLES / table).read_text(errors="replace").splitlines()[1:]:
                if inode := int(line.split()[position]):
                    yield inode, name


def _inodes_of_visible_processes() -> frozenset[int]:
    return frozenset(inode for process in _processes() for inode in _inodes(process))


def _inodes(process: Path) -> Iterator[int]:
    with suppress(OSError):  # it has ended, or belongs to another user
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                target = str(file.readlink())
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _processes() -> Iterator[Path]:
    with suppress(OSError):  # without /proc, no process is visible
        yield from (entry for entry in _PROC.iterdir() if entry.name.isdecimal())
