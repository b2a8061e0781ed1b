"""Print the progress of the demonstration, for a terminal or a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vmnet.terminal.colours import heading, styled
from vmnet.terminal.tables import columns

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_SECONDS = 0.1
_INDENT = "   "
_ERASE = "\r\033[K"


class Story:
    """The printed progress.

    :param quiet: whether to print nothing
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._chapters = 0

    def chapter(self, title: str) -> None:
        self._chapters += 1
        if not self._quiet:
            heading(f"\n{self._chapters}. {title}")
            sys.stdout.flush()  # errors go to standard error, and the two may be one file

    def say(self, text: str = "") -> None:
        if not self._quiet:
            print(f"{_INDENT}{text}".rstrip(), flush=True)

    def quote(self, lines: Sequence[str]) -> None:
        """Print the output of a program."""
        for line in lines:
            self.say(styled(f"│ {line}", "dim"))

    def done(self, text: str) -> None:
        """Print a check that succeeded."""
        self.say(f"{styled('✓', 'green')} {text}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns, with a check mark after each row below the head."""
        mark = styled("✓", "green")
        title, *lines = columns([(*head, ""), *((*row, mark) for row in rows)], gap="   ")
        for line in (styled(title, "bold"), *lines):
            self.say(line)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Stopwatch]:
        """Show a spinner on a terminal during the context, and erase it at the end.

        The caller prints the result with :meth:`done`.
        """
        watch = Stopwatch()
        if self._quiet or not sys.stdout.isatty():
            yield watch
            return
        over = threading.Event()
        spinner = threading.Thread(target=_spin, args=(what, watch, over), daemon=True)
        spinner.start()
        try:
            yield watch
        finally:
            over.set()
            spinner.join()


class Stopwatch:
    """The time since its creation."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s"


def _spin(what: str, watch: Stopwatch, over: threading.Event) -> None:
    frame = 0
    while not over.wait(_FRAME_SECONDS):
        mark = styled(_FRAMES[frame % len(_FRAMES)], "green")
        print(f"{_ERASE}{_INDENT}{mark} {what} … {watch}", end="", flush=True)
        frame += 1
    print(_ERASE, end="", flush=True)
