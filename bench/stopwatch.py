"""Run ``vmnet run`` and print the milliseconds of each phase as JSON, last on standard error.

This runs in the interpreter that has vmnet installed, without the tests and benchmarks.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_marks: dict[str, float] = {}
_last = time.perf_counter()


def _lap(phase: str) -> None:
    """Add the time since the last lap to a phase."""
    global _last
    now = time.perf_counter()
    _marks[phase] = _marks.get(phase, 0) + (now - _last) * 1000
    _last = now


def _timed(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        _lap("between")
        try:
            return function(*arguments, **named)
        finally:
            _lap(phase)

    return run


def _stop_at_exec(execv: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        _lap("between")
        import json

        print(json.dumps(_marks), file=sys.stderr, flush=True)
        return execv(*arguments)

    return run


def main() -> None:
    sys.argv = ["vmnet", "run"]
    from vmnet import __main__ as entry_point
    from vmnet import cli, log, pipeline, process
    from vmnet.cli import run
    from vmnet.hooks import facade
    from vmnet.lifecycle import recovery, state
    from vmnet.planning import preflight

    _lap("imports at the top")
    for phase, owner, name in (
        ("select", pipeline, "select"),
        ("plan", pipeline, "plan"),
        ("checks", preflight, "require"),
        ("recover", recovery, "recover"),
        ("save", state, "save"),
        ("build", facade.Hooks, "build_bridge"),
        ("daemons", process, "run"),
    ):
        setattr(owner, name, _timed(phase, getattr(owner, name)))
    os.execv = _stop_at_exec(os.execv)
    log.configure(os.environ)
    assert entry_point is not None  # its import defers modules
    assert run is not None
    cli.main(sys.argv[1:], os.environ)


if __name__ == "__main__":
    main()
