"""Recognise the architecture of a kernel's image."""

from __future__ import annotations

import struct
from pathlib import Path

_LENGTH = 4096
# The field Machine of the PE header, which kernels with an EFI stub have.
_PE = {0x8664: "x86_64", 0x014C: "x86_64", 0xAA64: "aarch64"}
_ELF = {62: "x86_64", 183: "aarch64"}  # elf(5), e_machine


def architecture(path: Path) -> str | None:
    """Return the architecture of a kernel; None if the file does not show it."""
    with path.open("rb") as file:
        head = file.read(_LENGTH).ljust(_LENGTH, b"\0")
    if head.startswith(b"\x7fELF"):
        return _ELF.get(_number("<H", head, 18))
    if head[56:60] == b"ARM\x64":  # Documentation/arch/arm64/booting.rst
        return "aarch64"
    if head.startswith(b"MZ"):
        header = _number("<I", head, 60)
        if head[header : header + 4] == b"PE\0\0":
            return _PE.get(_number("<H", head, header + 4))
    return "x86_64" if head[0x202:0x206] == b"HdrS" else None  # Documentation/arch/x86/boot.rst


def _number(kind: str, head: bytes, offset: int) -> int:
    found: int
    (found,) = struct.unpack_from(kind, head, offset)
    return found
