"""Quote values in QEMU's options."""

from __future__ import annotations


def escape(value: str) -> str:
    """Double the commas, as QEMU's option syntax requires."""
    return value.replace(",", ",,")
