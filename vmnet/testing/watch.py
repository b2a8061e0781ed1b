"""See what code does beyond computing: files it writes, processes it starts, its environment.

By Python's own audit events (PEP 578), so whatever the code calls for it, and without root. What a
library written in C does by itself raises none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# https://docs.python.org/3/library/audit_events.html, each with a word for it.
_EVENTS = {
    **dict.fromkeys(("os.posix_spawn", "subprocess.Popen", "os.system", "os.exec"), "starts"),
    **dict.fromkeys(("os.fork", "os.forkpty"), "forks"),
    **dict.fromkeys(("os.mkdir", "os.link", "os.symlink"), "makes"),
    **dict.fromkeys(("os.remove", "os.rmdir", "os.rename", "os.truncate"), "changes"),
    **dict.fromkeys(("os.chmod", "os.chown", "os.utime", "os.setxattr"), "changes"),
    **dict.fromkeys(("os.putenv", "os.unsetenv"), "changes the environment:"),
    "os.kill": "signals",
    "os.chdir": "changes to folder",
    "signal.pthread_kill": "signals",
}

_watches: list[list[str]] = []  # the innermost last; an audit hook can't be taken away again
_is_hooked = False


@contextmanager
def effects() -> Iterator[list[str]]:
    """What is done within the context, one line each; the list grows as it happens."""
    global _is_hooked
    if not _is_hooked:
        sys.addaudithook(_on_event)
        _is_hooked = True
    seen: list[str] = []
    compiling, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _watches.append(seen)
    try:
        yield seen
    finally:
        _watches.pop()
        sys.dont_write_bytecode = compiling


def _on_event(event: str, details: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event == "open":
        path, _mode, flags = details
        if isinstance(path, str | bytes) and flags & _WRITING and not _is_device(path):
            _watches[-1].append(f"writes {os.fsdecode(path)}")
    elif event in _EVENTS:
        what = next((one for one in details if isinstance(one, str | bytes)), "")
        _watches[-1].append(f"{_EVENTS[event]} {os.fsdecode(what)}".strip())


def _is_device(path: str | bytes) -> bool:
    return os.fsdecode(path).startswith("/dev/")
