"""The error of a demonstration."""

from __future__ import annotations

from vmnet.errors import VmnetError


class DemoError(VmnetError):
    """A failed check.

    :param excerpt: the end of the log or console, which may show the cause
    """

    meaning = "the demonstration failed"

    def __init__(self, message: str, hint: str = "", excerpt: str = "") -> None:
        super().__init__(message, hint)
        self.excerpt = excerpt
