"""Make disks that only UEFI firmware can boot: GPT, and an EFI system partition."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..command import run
from .cache import cached

SIGNED_SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
SIGNED_GRUB = Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
UNSIGNED_GRUB = Path("/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi")
_MIB = 1 << 20
# Under load, an emulated timer ticks too late for the kernel, which checks it and panics.
_CONFIG = """\
linux /vmlinuz console=ttyS0 quiet panic=-1 no_timer_check
initrd /initrd
boot
"""
_ARM_CONFIG = """\
linux /vmlinuz console=ttyAMA0 quiet panic=-1
initrd /initrd
boot
"""


def make_disk(path: Path, files: Mapping[str, Path], mib: int = 60) -> Path:
    """Make a raw image whose EFI system partition has the files.

    Needs mtools, dosfstools and fdisk.

    :param files: by their paths on the partition
    :param mib: the size of the partition
    """
    partition = path.with_suffix(".esp")
    run("truncate", "-s", f"{mib}M", partition)
    run("mkfs.fat", "-F", "32" if mib > 33 else "16", partition)
    folders = {str(above) for name in files for above in Path(name).parents} - {".", "/"}
    if folders:
        run("mmd", "-i", partition, *(f"::{folder}" for folder in sorted(folders)))
    for name, file in files.items():
        run("mcopy", "-i", partition, file, f"::{name}")
    with path.open("wb") as image:
        image.truncate((mib + 4) * _MIB)
        image.seek(_MIB)
        image.write(partition.read_bytes())
    table = f"label: gpt\nstart=2048, size={mib * 2048}, type=U\n"
    run("sfdisk", "-q", path, input=table)
    partition.unlink()
    return path


def make_arm_demonstration(path: Path, demo: Path) -> Path:
    """Make a disk with the demonstration Linux for aarch64, which GRUB boots.

    :param demo: the folder that guest/build has made, with the package lists of arm64
    """
    config = path.with_suffix(".cfg")
    config.write_text(_ARM_CONFIG)
    files = {
        "/EFI/BOOT/BOOTAA64.EFI": _arm_grub(demo),
        "/grub.cfg": config,
        "/vmlinuz": demo / "vmlinuz",
        "/initrd": demo / "initrd",
    }
    return make_disk(path, files)


def _arm_grub(demo: Path) -> Path:
    """Return GRUB for aarch64, which reads /grub.cfg of the partition that it was loaded from."""

    def make(program: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="vmt-grub-") as name:
            download = ("apt-get", "download", "-qq", "grub-efi-arm64-bin")
            environ = os.environ | {"APT_CONFIG": f"{demo}/packages/apt.conf"}
            run(*download, cwd=name, env=environ, timeout=300)
            (archive,) = Path(name).glob("*.deb")
            run("dpkg-deb", "-x", archive, name)
            modules = Path(name, "usr/lib/grub/arm64-efi")
            make_image = ("grub-mkimage", "-O", "arm64-efi", "-d", modules, "-p", "/")
            run(*make_image, "-o", program, "fat", "part_gpt", "linux", "normal")

    return cached("grub-arm64.efi", "GRUB for aarch64", make)


def make_demonstration(path: Path, demo: Path, loader: Path = SIGNED_SHIM) -> Path:
    """Make a disk with the demonstration Linux, which GRUB boots.

    Debian has signed the shim, GRUB and the kernel. The packages are shim-signed,
    grub-efi-amd64-signed and, for an unsigned GRUB, grub-efi-amd64-bin.

    :param loader: what the firmware starts
    """
    config = path.with_suffix(".cfg")
    config.write_text(_CONFIG)
    files = {
        "/EFI/BOOT/BOOTX64.EFI": loader,
        "/EFI/BOOT/grubx64.efi": SIGNED_GRUB,
        "/EFI/debian/grub.cfg": config,
        "/vmlinuz": demo / "vmlinuz",
        "/initrd": demo / "initrd",
    }
    return make_disk(path, files)
