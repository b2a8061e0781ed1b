"""Make a bootable disk: the demonstration Linux with a real boot loader."""

from __future__ import annotations

from pathlib import Path

from ..command import run

_CONFIG = """\
SERIAL 0
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=-1
"""


def make_disk(path: Path, demo: Path) -> Path:
    """Make a raw image with SYSLINUX on a FAT file system.

    Needs syslinux, mtools and dosfstools.
    """
    config = path.with_suffix(".cfg")
    config.write_text(_CONFIG)
    run("truncate", "-s", "48M", path)
    run("mkfs.fat", "-F", "16", path)
    run("syslinux", "--install", path)
    files = (demo / "vmlinuz", demo / "initrd")
    run("mcopy", "-i", path, *files, "::/")
    run("mcopy", "-i", path, config, "::/syslinux.cfg")
    return path


def convert(raw: Path, path: Path, image_format: str) -> Path:
    """Copy a raw image to *path* in another format."""
    run("qemu-img", "convert", "-f", "raw", "-O", image_format, raw, path)
    return path
