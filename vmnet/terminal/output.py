"""Options, tables, colours and JSON for the commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from vmnet.errors import UsageError
from vmnet.settings import values

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Parser(argparse.ArgumentParser):
    """A parser of a command's options, which raises :class:`UsageError`.

    :param json: whether the command has ``--json``
    """

    def __init__(self, command: str, description: str, *, json: bool = True) -> None:
        super().__init__(prog=f"vmnet {command}", description=description)
        if json:
            self.add_argument("--json", action="store_true", help="print JSON")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", f"`{self.prog} --help` lists the options")


def seconds(text: str) -> int:
    """Parse an option's value, a time in seconds."""
    try:
        return values.integer(0, 86400)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not {error}") from None


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format rows as columns that are as wide as their content; the last column is not padded."""
    lines = [tuple(cell.upper() for cell in head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        ).rstrip()
        for line in lines
    )


def styled(text: str, style: str) -> str:
    """Colour or embolden text on a terminal, unless NO_COLOR is set (no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_STYLES[style]}m{text}\033[0m"


def heading(text: str) -> None:
    print(styled(text, "bold"))
