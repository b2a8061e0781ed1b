"""A disk that boots by itself: the demonstration Linux behind a real boot loader."""

from __future__ import annotations

from pathlib import Path

from .command import run

_CONFIG = """\
SERIAL 0
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=-1
"""


def make_disk(path: Path, demo: Path) -> Path:
    """A raw image with SYSLINUX on a FAT file system; needs syslinux, mtools and dosfstools."""
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
    """The same disk in another format."""
    run("qemu-img", "convert", "-f", "raw", "-O", image_format, raw, path)
    return path
