"""Each line of the log has an event, and each event is known."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmnet import events, log
from vmnet.supervision.log import Log

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("vmnet/**/*.py"), *ROOT.glob("plugins/*/vmnet_*/**/*.py")])
AREAS = {name.partition(".")[0] for name in events.EVENTS if "." in name}
# A demonstration for a terminal, whose log no program reads.
UNNAMED = ROOT / "vmnet/demo"
LOGS = ("_log", "self._log", "log", "logger")


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls that write a line, except those at the level debug."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        methods = (
            [node.func.body, node.func.orelse] if isinstance(node.func, ast.IfExp) else [node.func]
        )
        for method in methods:
            if (
                isinstance(method, ast.Attribute)
                and method.attr in ("info", "warning", "error", "log")
                and ast.unparse(method.value) in LOGS
            ):
                yield node
                break


def has_event(call: ast.Call) -> bool:
    """Whether a call names its event, as a keyword or in logging's ``extra``."""
    for keyword in call.keywords:
        if keyword.arg == "event":
            return True
        if keyword.arg == "extra" and '"event":' in ast.unparse(keyword.value).replace("'", '"'):
            return True
    return False


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_has_an_event_that_is_known(path: Path) -> None:
    if UNNAMED in path.parents:
        return
    assert not [call.lineno for call in calls(path) if not has_event(call)]
    for name in named(path):
        assert name in events.EVENTS, name


def named(path: Path) -> set[str]:
    """Return the strings that have the form of an event's name, and not that of a file's."""
    if path == ROOT / "vmnet/events.py":
        return set()
    strings = (
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    form = re.compile(rf"({'|'.join(AREAS)})\.(?!json|lock|pid|sock)[a-z0-9_]+")
    return {text for text in strings if form.fullmatch(text)}


def test_every_event_is_used() -> None:
    used = {name for path in SOURCES for name in named(path)}
    assert set(events.EVENTS) - used == {events.OTHER}


def test_every_event_is_documented_with_a_sentence() -> None:
    page = (ROOT / "docs/events.md").read_text()
    for name, meaning in events.EVENTS.items():
        assert page.count(f"| `{name}` | {meaning} |") == 1
        assert meaning.endswith(".")


def test_both_logs_write_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    """That of a start, and that of the programs that run as long as the VM."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        root.handlers.clear()  # or configure() would close pytest's handlers
        log.configure({"VMNET_LOG": "json"})
        logger = logging.getLogger("vmnet.plugin")
        logger.info("named", extra={"event": "guest.identity"})
        logger.info("unnamed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    written = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in written] == ["guest.identity", events.OTHER]
    reading, writing = os.pipe()
    Log("json", stream=writing).error("ended", event="helper.restarting")
    Log("json", stream=writing).info("unnamed")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = [json.loads(line) for line in pipe]
    assert [line["event"] for line in lines] == ["helper.restarting", events.OTHER]
    assert lines[0].keys() == written[0].keys()
