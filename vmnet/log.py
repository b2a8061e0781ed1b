"""The log: lines of text or JSON on standard error."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from vmnet import events
from vmnet.errors import InterruptedStartError, VmnetError


def configure(environ: Mapping[str, str]) -> None:
    """Set up logging before the settings are parsed, because their errors are logged, too.

    Parsing the settings reports a wrong VMNET_LOG or VMNET_LOG_LEVEL; this function ignores it.
    """
    handler = logging.StreamHandler()
    is_json = environ.get("VMNET_LOG", "").strip().lower() == "json"
    handler.setFormatter(_JsonFormatter() if is_json else _TextFormatter())
    level = environ.get("VMNET_LOG_LEVEL", "").strip().upper()
    logging.basicConfig(
        level=level if level in ("DEBUG", "INFO", "WARNING", "ERROR") else "INFO",
        handlers=[handler],
        force=True,
    )


def report(error: VmnetError | InterruptedStartError, event: str = "command.failed") -> None:
    """Log an error and its hint; with VMNET_LOG_LEVEL=debug, its traceback, too."""
    log = logging.getLogger("vmnet")
    log.error("%s", error.message, extra={"event": event, "hint": error.hint})
    log.debug("the error was raised here:", exc_info=error)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        hint: str = getattr(record, "hint", "")
        text = f"vmnet: {level}{record.getMessage()}"
        if hint:
            text += f"\nvmnet: hint: {hint}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", events.OTHER),
            "message": record.getMessage(),
        }
        if hint := getattr(record, "hint", ""):
            entry["hint"] = hint
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)
