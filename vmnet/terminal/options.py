"""The options of a command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn, TypeVar

from vmnet.errors import UsageError
from vmnet.settings import values

Value = TypeVar("Value")


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


def valid(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Make argparse report the ValueError of a parser."""

    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
