"""Values from answers of the guest's agent. A hostile guest can put anything into them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from vmnet.errors import GuestError

_TEXT_LIMIT = 200  # characters


class InvalidError(GuestError):
    """A value of an answer is missing, or not of its type or range."""


class Answer:
    """A part of an answer, from which only values of known types and ranges can be read.

    :param name: the command, or the name of the part
    """

    def __init__(self, name: str, content: Any) -> None:
        self._name = name
        self._content = content

    def __contains__(self, key: str) -> bool:
        return isinstance(self._content, dict) and key in self._content

    def __getitem__(self, key: str) -> Answer:
        if key not in self:
            raise self.invalid(f"{key} is missing")
        return Answer(f"{self._name}: {key}", self._content[key])

    def items(self, limit: int) -> Iterator[Answer]:
        """Yield the items of a list.

        :param limit: how many there may be
        """
        if not isinstance(self._content, list) or len(self._content) > limit:
            raise self.invalid(f"is not a list of at most {limit}")
        for item in self._content:
            yield Answer(self._name, item)

    def boolean(self) -> bool:
        if not isinstance(self._content, bool):
            raise self.invalid("is not a truth value")
        return self._content

    def integer(self, low: int, high: int) -> int:
        number = self._content
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise self.invalid(f"is not a number from {low} to {high}")
        return number

    def text(self) -> str:
        """Return a short text, without control characters."""
        if not isinstance(self._content, str):
            raise self.invalid("is not text")
        return printable(self._content)

    def data(self) -> bytes:
        """Return the bytes of base64."""
        try:
            return base64.b64decode(self._content, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise self.invalid("is not base64") from None

    def invalid(self, why: str) -> InvalidError:
        """Return the error of this part, for the caller to raise."""
        return InvalidError(
            f"the guest's agent gave an invalid answer to {self._name}: {why}",
            "is qemu-guest-agent in the guest, and not another program, on this channel?",
        )


def printable(text: str) -> str:
    """Return the beginning of a text, in which nothing can control a terminal or begin a line."""
    shown = text[:_TEXT_LIMIT]
    return "".join(char if char.isprintable() else "�" for char in shown)
