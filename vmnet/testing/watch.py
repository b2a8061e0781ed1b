"""Observe side effects: files written, processes started, changes to the environment.

It uses Python's audit events (PEP 578), which cover all Python code and need no root. C libraries
raise no events for their own side effects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# See https://docs.python.org/3/library/audit_events.html. Each value is a verb for the report.
_EVENTS = {
    **dict.fromkeys(("os.posix_spawn", "subprocess.Popen", "os.system", "os.exec"), "starts"),
    **dict.fromkeys(("os.fork", "os.forkpty"), "forks"),
    **dict.fromkeys(("os.mkdir", "os.link", "os.symlink"), "creates"),
    **dict.fromkeys(("os.remove", "os.rmdir", "os.rename", "os.truncate"), "changes"),
    **dict.fromkeys(("os.chmod", "os.chown", "os.utime", "os.setxattr"), "changes"),
    **dict.fromkeys(("os.putenv", "os.unsetenv"), "changes the environment:"),
    "os.kill": "signals",
    "os.chdir": "changes to folder",
    "signal.pthread_kill": "signals",
}

# The innermost last. A module global, because an audit hook can't be removed.
_watches: list[list[str]] = []
_is_hooked = False


@contextmanager
def effects() -> Iterator[list[str]]:
    """Yield a list that grows by a line for each side effect within the context."""
    global _is_hooked
    if not _is_hooked:
        sys.addaudithook(_on_event)
        _is_hooked = True
    seen: list[str] = []
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _watches.append(seen)
    try:
        yield seen
    finally:
        _watches.pop()
        sys.dont_write_bytecode = before


def _on_event(event: str, details: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event == "open":
        path, _mode, flags = details
        if isinstance(path, str | bytes) and flags & _WRITING and not _is_device(path):
            _watches[-1].append(f"writes {os.fsdecode(path)}")
    elif event in _EVENTS:
        object_ = next((detail for detail in details if isinstance(detail, str | bytes)), "")
        _watches[-1].append(f"{_EVENTS[event]} {os.fsdecode(object_)}".strip())


def _is_device(path: str | bytes) -> bool:
    return os.fsdecode(path).startswith("/dev/")
