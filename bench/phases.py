"""Measure the phases of vmnet's start, and the slowest imports."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

from bench import arena
from bench.arena import BenchmarkError, Entry

_STOPWATCH = arena.HERE / "stopwatch.py"
_IMPORT = re.compile(r"import time: *(\d+) \| *(\d+) \|( *)(\S+)$", re.MULTILINE)
_SHOWN = 25


def measure(python: Path, rounds: int) -> dict[str, Any]:
    """Return the medians over the rounds, in milliseconds.

    ``phases`` contains the phases in their order. ``imports`` contains each module's own time under
    ``-X importtime``, which itself makes imports slower.
    """
    phases: dict[str, list[float]] = {}
    imports: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in _phases(python).items():
            phases.setdefault(name, []).append(value)
        for name, value in _imports(python).items():
            imports.setdefault(name, []).append(value)
    return {
        "phases": {name: statistics.median(values) for name, values in phases.items()},
        "imports": {name: statistics.median(values) for name, values in imports.items()},
    }


def _phases(python: Path) -> dict[str, float]:
    entry = Entry("phases", (str(python), "-I", str(_STOPWATCH)), {"VMNET_GUARD": "off"})
    with arena.started(entry, arena.QEMU) as start:
        marks: dict[str, float] = json.loads(start.log.splitlines()[-1])
        total = start.seconds * 1000
    # The stopwatch covers neither the start of the interpreter nor QEMU's stand-in.
    return {"python": total - sum(marks.values()), **marks}


def _imports(python: Path) -> dict[str, float]:
    argv = (str(python), "-I", "-X", "importtime", str(python.with_name("vmnet")), "run")
    entry = Entry("imports", argv, {"VMNET_GUARD": "off"})
    with arena.started(entry, arena.QEMU) as start:
        found = _IMPORT.findall(start.log)
    if not found:
        raise BenchmarkError("-X importtime printed nothing")
    return {module: int(own) / 1000 for own, _, _, module in found}


def table(report: dict[str, Any]) -> str:
    phases, imports = report["phases"], report["imports"]
    lines = [f"{name:<22}{value:>7.1f} ms" for name, value in phases.items()]
    total = sum(imports.values())
    lines += ["", f"own time of {len(imports)} imports: {total:.0f} ms; by package:"]
    for package, value in _by_package(imports)[:12]:
        lines.append(f"  {package:<28}{value:>6.1f} ms")
    lines += ["", f"the slowest {_SHOWN} modules:"]
    for module, value in sorted(imports.items(), key=lambda item: -item[1])[:_SHOWN]:
        lines.append(f"  {module:<28}{value:>6.1f} ms")
    return "\n".join(lines)


def _by_package(imports: dict[str, float]) -> list[tuple[str, float]]:
    total: dict[str, float] = {}
    for module, value in imports.items():
        package = module.partition(".")[0]
        total[package] = total.get(package, 0) + value
    return sorted(total.items(), key=lambda item: -item[1])
