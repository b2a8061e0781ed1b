"""Run the engines of Debian 13 in a root folder of their own, in the network of a namespace."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..command import background
from ..images.cache import cached
from ..images.debootstrap import debootstrap
from ..images.packages import RELEASE
from ..net.namespace import Namespace
from ..wait import WAIT, until

_PACKAGES = (
    "ca-certificates",
    "catatonit",
    "containerd",
    "containernetworking-plugins",
    "docker-cli",
    "docker.io",
    "iproute2",
    "iptables",
    "netavark",
    "nftables",
    "podman",
    "runc",
)
_VERSION = 3
"""Number of this list of packages. Increase it with every change of the list."""

# Writes go to memory, except those to the kept folder: engines cannot mount an overlay on another.
# With chroot(1), `podman exec` would find the files of the machine: it enters the namespace's root.
_BOOT = """\
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p ".$2"
mount --bind "$2" ".$2"
pivot_root . mnt
umount -l /mnt
exec sh -c 'trap "exit 0" TERM; touch /run/booted; sleep infinity & wait'
"""


@contextmanager
def debian13(host: Namespace, kept: Path) -> Iterator[tuple[str, ...]]:
    """Boot the root folder, and yield the words that run a program in it.

    Its processes end with the context.

    :param kept: a folder on a real disk, at the same path inside
    """
    # ip(8) would hide the mounts of the control groups.
    enter = ("nsenter", f"--net={host.path}")
    spaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
    with background(*enter, *spaces, "sh", "-c", _BOOT, "sh", _tree(), kept) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def booted() -> str | None:
            process.require_running()
            pid = children.read_text().strip()
            return pid if pid and Path(f"/proc/{pid}/root/run/booted").exists() else None

        pid = until(booted, WAIT, "Debian 13", detail=process.output)
        try:
            yield ("nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--root", "--wd")
        finally:
            # With its first process all others end. unshare(1) ignores SIGTERM.
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)


def _tree() -> Path:
    """Return the files, from the cache or made in about two minutes."""
    name = f"debian-{RELEASE}-engines-{_VERSION}"
    return cached(name, f"the engines of Debian {RELEASE}", _make)


def _make(root: Path) -> None:
    debootstrap(root, *_PACKAGES)
