"""A Debian guest like a cloud image, with systemd-networkd, resolved, netplan and cloud-init.

debootstrap builds it once; the tests' cache keeps the disk, the kernel and the initrd.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.lab.command import run
from tests.lab.console import Console, on_socket
from tests.lab.folders import open_to_readers
from tests.lab.images.cache import cached
from tests.lab.images.debootstrap import debootstrap
from tests.lab.images.packages import RELEASE
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until

BOOT_SECONDS = 8 * WAIT  # under TCG, where a boot takes half a minute
"""For a Debian under TCG, on a busy machine."""

_PROMPT = "guest> "

_PACKAGES = (
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "linux-image-cloud-amd64",
    "netplan.io",
    "openssh-client",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
)
_SIZE = "1500M"
_CHANGE = 2
"""The version of the cached guest: raise it with every change in this module that affects it."""

_SETTINGS = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    # Like a cloud image: cloud-init sets the name, and systemd creates the id at the first boot.
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/machine-id": "",
    "etc/cloud/cloud.cfg.d/90-test.cfg": "datasource_list: [NoCloud, None]\n",
    # A root shell without line editing or colours, so that a test reads exactly what it typed. It
    # is not on the console, where the kernel and cloud-init interrupt any line.
    "etc/systemd/system/serial-getty@ttyS1.service.d/autologin.conf": (
        "[Service]\n"
        f"Environment='PS1={_PROMPT}' SYSTEMD_COLORS=0 SYSTEMD_PAGER=\n"
        "ExecStart=\n"
        "ExecStart=-/sbin/agetty --login-program /bin/sh --skip-login --noclear %I dumb\n"
    ),
}
# Units that do not affect the network. In software emulation, each adds seconds to a boot.
_OFF = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-logind.service",
)


@frozen
class DebianGuest:
    """The files to boot from; the cache owns the disk, so boot it ``ephemeral``."""

    disk: Path
    kernel: Path
    initrd: Path

    def settings(self, append: str = "") -> dict[str, str]:
        """Return vmnet's variables that boot it."""
        quiet = "quiet systemd.firstboot=off systemd.show_status=no mitigations=off"
        # Under load, an emulated timer ticks too late for the kernel, which checks it and panics.
        quiet += " no_timer_check"
        return {
            "VMNET_DISK": str(self.disk),
            "VMNET_DISK_MODE": "ephemeral",
            "VMNET_KERNEL": str(self.kernel),
            "VMNET_INITRD": str(self.initrd),
            "VMNET_APPEND": f"root=/dev/vda rw console=ttyS0 {quiet} {append}".strip(),
            # With two CPUs, QEMU 7.2 in emulation sometimes hits a breakpoint of a kernel that is
            # patching its own code ("Oops: int3").
            "VMNET_CPUS": "1",
            "VMNET_MEMORY": "1G",
        }


@frozen
class Shell:
    """A root shell in the guest."""

    console: Console

    def ask(self, command: str, seconds: float = WAIT) -> str:
        """Run a command, and return what it prints."""
        return self.console.command(command, f"^{_PROMPT}$", seconds)

    def json(self, command: str, seconds: float = WAIT) -> Any:
        return json.loads(self.ask(command, seconds))

    def await_answer(self, address: object) -> None:
        """Ping until an address answers. ping fails after 3 s if a neighbour does not resolve."""
        ping = f"ping -c1 -W5 {address}"
        answered = lambda: " 0% packet loss" in self.ask(ping)  # noqa: E731
        until(answered, WAIT, f"an answer to the guest: {ping}", interval=1)


@contextmanager
def booted(container: Namespace, folder: Path, settings: Mapping[str, str]) -> Iterator[Shell]:
    """Boot the guest in a container, and yield its shell when cloud-init has finished."""
    open_to_readers(folder)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VMNET_")}
    shell = folder / "shell"
    own = {
        "VMNET_RUN_DIR": str(folder / "run"),
        "VMNET_DISK_STATE": str(folder / "state"),
        "VMNET_QEMU_ARGS": f"-serial unix:{shell},server=on,wait=off",
    }
    vmnet = (sys.executable, "-m", "vmnet", "run")
    with (
        container.popen(*vmnet, env={**inherited, **own, **settings}, pid=True) as process,
        on_socket(shell, more=process.output) as console,
    ):
        console.expect(f"^{_PROMPT}$", BOOT_SECONDS)
        guest = Shell(console)
        guest.ask("cloud-init status --wait", BOOT_SECONDS)
        yield guest


def debian_guest() -> DebianGuest:
    """Return the guest from the cache, or build it, which takes about two minutes."""
    name = f"debian-{RELEASE}-cloud-init-{_CHANGE}"
    folder = cached(name, f"a Debian {RELEASE} guest", _make)
    return DebianGuest(folder / "disk.img", folder / "vmlinuz", folder / "initrd.img")


def _make(made: Path) -> None:
    made.mkdir()
    with tempfile.TemporaryDirectory(prefix="vmnet-debian-", dir="/var/tmp") as folder:
        _install(Path(folder, "root"), made)


def _install(root: Path, made: Path) -> None:
    debootstrap(root, *_PACKAGES)
    for name, text in _SETTINGS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run("systemctl", f"--root={root}", "enable", "systemd-networkd", "serial-getty@ttyS1")
    run("systemctl", f"--root={root}", "mask", *_OFF)
    for kind in ("vmlinuz", "initrd.img"):
        (file,) = (root / "boot").glob(f"{kind}-*")
        shutil.copyfile(file, made / kind)
    for folder in ("boot", "var/cache/apt", "var/lib/apt/lists", "usr/share/doc"):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    disk = made / "disk.img"
    run("mkfs.ext4", "-q", "-d", root, disk, _SIZE, timeout=300)
