"""The arguments for a memory balloon. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def words(place: str) -> Iterator[str]:
    """Yield the arguments of a balloon to which the guest reports its free pages."""
    yield from ("-device", f"virtio-balloon-pci,id=balloon,free-page-reporting=on,{place}")


def is_among(extra: Iterable[str]) -> bool:
    """Return whether the user's own arguments have a balloon; QEMU accepts only one."""
    return any(word.startswith("virtio-balloon") for word in extra)
