"""The log: text and JSON lines, with a hint after each error."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from vmnet import log, testing
from vmnet.errors import SettingsError
from vmnet.settings.core import LOG, LOG_LEVEL


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Restore the root logger and pytest's handlers after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # or configure() would close pytest's handlers
    yield
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)


Capture = pytest.CaptureFixture[str]
ERROR = SettingsError("VMNET_CPUS=0 is not a whole number from 1 to 1024", "set it with `-e …`")


def test_only_warnings_and_errors_name_their_level(capsys: Capture) -> None:
    log.configure({})
    logger = logging.getLogger("vmnet.strategies.bridge.plan")
    logger.debug("a detail")
    logger.info("br%d is up", 0)
    logger.warning("no KVM")
    assert capsys.readouterr().err == "vmnet: br0 is up\nvmnet: warning: no KVM\n"


def test_an_error_and_its_hint(capsys: Capture) -> None:
    log.configure({})
    log.report(ERROR)
    assert capsys.readouterr() == (
        "",
        "vmnet: error: VMNET_CPUS=0 is not a whole number from 1 to 1024\n"
        "vmnet: hint: set it with `-e …`\n",
    )


def test_an_error_without_a_hint(capsys: Capture) -> None:
    log.configure({})
    log.report(SettingsError("too bad"))
    assert capsys.readouterr().err == "vmnet: error: too bad\n"


def raised() -> SettingsError:
    try:
        raise ERROR
    except SettingsError as error:
        return error


def test_a_traceback_at_debug_level(capsys: Capture) -> None:
    log.configure({"VMNET_LOG_LEVEL": "debug"})
    log.report(raised())
    text = capsys.readouterr().err
    assert "vmnet: the error was raised here:\nTraceback (most recent call last):" in text
    assert "in raised" in text


def test_each_json_line_is_an_object(capsys: Capture) -> None:
    log.configure({"VMNET_LOG": "json", "VMNET_LOG_LEVEL": "debug"})
    logging.getLogger("vmnet").warning("two\nlines of %s", "text")
    log.report(raised())
    first, second, third = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.keys() == {"time", "level", "event", "message"}
    assert (first["level"], first["message"]) == ("warning", "two\nlines of text")
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert (second["level"], second["hint"]) == ("error", ERROR.hint)
    assert "Traceback" in third["traceback"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("", ["info", "warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("Warning", ["warning", "error"]),
        ("error", ["error"]),
        ("nonsense", ["info", "warning", "error"]),
    ],
)
def test_levels(level: str, shown: list[str], capsys: Capture) -> None:
    log.configure({"VMNET_LOG": "JSON", "VMNET_LOG_LEVEL": level})
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("vmnet"), name)("x")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == shown


def test_the_log_accepts_the_spellings_that_the_settings_accept(capsys: Capture) -> None:
    environ = {"VMNET_LOG": "json ", "VMNET_LOG_LEVEL": " error"}
    parsed = testing.settings(environ)
    assert (parsed[LOG], parsed[LOG_LEVEL]) == ("json", "error")
    log.configure(environ)
    logging.getLogger("vmnet").info("hidden")
    logging.getLogger("vmnet").error("shown")
    assert json.loads(capsys.readouterr().err)["message"] == "shown"
