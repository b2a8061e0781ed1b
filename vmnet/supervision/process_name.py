"""The name of a process in ps(1)."""

from __future__ import annotations


def set_own(name: str) -> None:
    """Set the name that `docker top` and ps(1) show for this process instead of ``python3``."""
    try:
        with open("/proc/self/comm", "w") as file:  # noqa: PTH123
            file.write(name)
    except OSError:  # /proc may be read-only, and only the display depends on the name
        return
