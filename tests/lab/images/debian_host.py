"""Run a Debian host in a namespace, with its network managers, cloud-init and own files.

debootstrap makes the host once, in the tests' cache. A test's changes are discarded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from ..command import Argument, Completed, Process, background, run
from ..net.namespace import Namespace
from ..wait import WAIT, until
from .cache import cached
from .debootstrap import debootstrap
from .packages import RELEASE

_PACKAGES = (
    "bridge-utils",
    "cloud-init",
    "dbus",
    "dhcpcd-base",
    "ifupdown",
    "iproute2",
    "netplan.io",
    "network-manager",
    "systemd",
    "systemd-resolved",
)
_VERSION = 2
"""Number of this list of packages. Increase it with every change of the list."""

# Files that the packages create from this machine's configuration, or with useless defaults.
_UNCONFIGURED = ("etc/network/interfaces", "etc/resolv.conf")
_MACHINE_ID = "8a0cf1d2b3e44f5f9d6a7b8c9d0e1f2a\n"  # networkd and NetworkManager derive DUIDs

# Writes go to memory and leave the cached tree unchanged. /sys shows the namespace's network, which
# udev does not know. It is read-only, because programs then do not wait for udev.
_BOOT = """\
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
exec chroot . sh -c 'trap "exit 0" TERM; touch /run/booted; sleep infinity & wait'
"""


@frozen
class DebianHost:
    """The host. It runs no init, so a test starts the daemons that it needs."""

    _pid: int

    def path(self, inside: str) -> Path:
        """Return the path of a host's file outside the host."""
        return Path(f"/proc/{self._pid}/root", inside.lstrip("/"))

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file, and create its folder."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(self, *argv: Argument, timeout: float = WAIT, input: str | None = None) -> Completed:
        """Run a program of the host until it ends."""
        return run(*self._enter(), *argv, timeout=timeout, input=input, env=_ENVIRON)

    @contextmanager
    def daemon(self, *argv: Argument) -> Iterator[Process]:
        """Run a program of the host in the background."""
        with background(*self._enter(), *argv, env=_ENVIRON) as process:
            yield process

    def _enter(self) -> tuple[str, ...]:
        spaces = ("--mount", "--net", "--uts", "--pid", "--root", "--wd")
        return ("nsenter", f"--target={self._pid}", *spaces)


_ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@contextmanager
def debian_host(network: Namespace) -> Iterator[DebianHost]:
    """Run a host in the network of a namespace. Its programs end with the context."""
    boot = ("sh", "-c", _BOOT, "sh", _tree())
    with network.popen(*boot, pid=True) as process:
        host = DebianHost(process.pid)

        def booted() -> bool:
            process.require_running()
            return host.path("/run/booted").exists()

        until(booted, WAIT, "a Debian host", detail=process.output)
        yield host


def _tree() -> Path:
    """Return the host's files, from the cache or made in about two minutes."""
    return cached(f"debian-{RELEASE}-host-{_VERSION}", f"a Debian {RELEASE} host", _make)


def _make(root: Path) -> None:
    debootstrap(root, *_PACKAGES)
    for name in _UNCONFIGURED:
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_text(_MACHINE_ID)
    for unneeded in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc"):
        shutil.rmtree(root / unneeded)
        (root / unneeded).mkdir()
