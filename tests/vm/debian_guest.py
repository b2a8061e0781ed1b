"""A Debian guest as cloud images are: systemd-networkd, resolved, netplan and cloud-init.

debootstrap makes it once; what boots is kept in the tests' cache.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from attrs import frozen

from tests.lab.base_image import cache
from tests.lab.command import run
from tests.lab.progress import step

PROMPT = "guest> "
"""What the root shell on the serial console shows when it is ready."""

_MIRROR = "http://deb.debian.org/debian"
_RELEASE = "trixie"
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
_CHANGE = 1
"""To be raised with every change here that the cached guest should show."""

_SETTINGS = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    # As a cloud image's: cloud-init sets the name, systemd makes the id at the first boot.
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/machine-id": "",
    "etc/cloud/cloud.cfg.d/90-test.cfg": "datasource_list: [NoCloud, None]\n",
    # A root shell without line editing or colours, so that a test reads exactly what it typed.
    "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": (
        "[Service]\n"
        f"Environment='PS1={PROMPT}' SYSTEMD_COLORS=0 SYSTEMD_PAGER=\n"
        "ExecStart=\n"
        "ExecStart=-/sbin/agetty --login-program /bin/sh --skip-login --noclear %I dumb\n"
    ),
}
# Nothing of these concerns the network, and in software emulation each takes seconds of a boot.
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
    """What to boot it from; the disk is the cache's own, so boot it ``ephemeral``."""

    disk: Path
    kernel: Path
    initrd: Path

    def settings(self, append: str = "") -> dict[str, str]:
        """vmnet's variables that boot it."""
        quiet = "quiet systemd.firstboot=off systemd.show_status=no mitigations=off"
        return {
            "VMNET_DISK": str(self.disk),
            "VMNET_DISK_MODE": "ephemeral",
            "VMNET_KERNEL": str(self.kernel),
            "VMNET_INITRD": str(self.initrd),
            "VMNET_APPEND": f"root=/dev/vda rw console=ttyS0 {quiet} {append}".strip(),
            "VMNET_CPUS": "2",
            "VMNET_MEMORY": "1G",
        }


def debian_guest() -> DebianGuest:
    """The guest, from the cache or made anew in some two minutes."""
    folder = cache() / f"debian-{_RELEASE}-cloud-init-{_CHANGE}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix="vmnet-debian-", dir="/var/tmp") as work:
            made = Path(work, "made")
            made.mkdir()
            with step(f"a Debian {_RELEASE} guest"):
                _make(Path(work, "root"), made)
            # Renamed when it is complete: a run that is killed leaves nothing half done.
            partial = folder.with_suffix(f".{os.getpid()}")
            shutil.move(made, partial)
            partial.rename(folder)
    return DebianGuest(folder / "disk.img", folder / "vmlinuz", folder / "initrd.img")


def _make(root: Path, made: Path) -> None:
    include = f"--include={','.join(_PACKAGES)}"
    run("debootstrap", "--variant=minbase", include, _RELEASE, root, _MIRROR, timeout=900)
    for name, text in _SETTINGS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run("systemctl", f"--root={root}", "enable", "systemd-networkd")
    run("systemctl", f"--root={root}", "mask", *_OFF)
    for kind in ("vmlinuz", "initrd.img"):
        (file,) = (root / "boot").glob(f"{kind}-*")
        shutil.copyfile(file, made / kind)
    for unneeded in ("boot", "var/cache/apt", "var/lib/apt/lists", "usr/share/doc"):
        shutil.rmtree(root / unneeded)
        (root / unneeded).mkdir()
    disk = made / "disk.img"
    run("mkfs.ext4", "-q", "-d", root, disk, _SIZE, timeout=300)
