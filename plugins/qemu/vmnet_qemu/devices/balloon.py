"""The arguments for a memory balloon. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator


def words(place: str) -> Iterator[str]:
    """Yield the arguments of a balloon to which the guest reports its free pages."""
    yield from ("-device", f"virtio-balloon-pci,id=balloon,free-page-reporting=on,{place}")
