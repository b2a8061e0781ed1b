"""What can go wrong in a demonstration."""

from __future__ import annotations

from vmnet.errors import VmnetError


class DemoError(VmnetError):
    """An expectation that was not met.

    :param excerpt: the end of the log or console that may tell why
    """

    meaning = "the demonstration failed"

    def __init__(self, message: str, hint: str = "", excerpt: str = "") -> None:
        super().__init__(message, hint)
        self.excerpt = excerpt
