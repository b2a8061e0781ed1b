"""Split the pages of the documentation into prose, code blocks, and commands with their output."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    path
    for pattern in ("*.md", "docs/*.md", "[!.]*/README.md", "[!.]*/*/README.md")
    for path in sorted(ROOT.glob(pattern))
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)
# Commands that do not use a container's network.
_OFFLINE = ("hooks", "config")


@frozen
class Block:
    """A fenced code block.

    :param line: number of the block's first line in the page
    """

    page: Path
    line: int
    language: str
    text: str


@frozen
class Example:
    """A command and the output that the page shows, in which ``…`` matches anything."""

    page: Path
    line: int
    environ: dict[str, str]
    arguments: tuple[str, ...]
    output: str

    @property
    def is_offline(self) -> bool:
        return self.arguments[0] in _OFFLINE

    def require(self, actual: str) -> None:
        """Fail unless the actual output matches the page."""
        if not pattern(self.output).fullmatch(actual):
            pytest.fail(
                f"{self.page.name}:{self.line} shows\n{self.output}\n"
                f"but the command prints\n{actual}"
            )

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def name(page: Path) -> str:
    """Return the page's path, for a test's name."""
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """Return all blocks in these languages."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        yield Block(page, line, match[1], match[2])


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return _BLOCK.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """Return the texts in back quotes."""
    return _SPAN.findall(prose(page))


def examples() -> list[Example]:
    """Return each ``$ vmnet …`` in the console blocks."""
    return [example for block in blocks("console") for example in _examples_of(block)]


def settled_environment() -> dict[str, str]:
    """Return the environment without variables that would change an example's output."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key != "NO_DHCP" and not key.startswith("VMNET_")
    }
    return {**inherited, "VMNET_ACCEL": "tcg"}  # suppresses the warning about missing KVM


def pattern(output: str) -> re.Pattern[str]:
    """Return the pattern of an output.

    ``…`` within a line matches any text, and alone on a line any number of lines. Columns may have
    any width, because the width depends on the installed plugins.
    """
    lines = (r"(?:.*\n)*?" if line == "…" else _line(line) + r"\n" for line in output.splitlines())
    return re.compile("".join(lines))


def _line(shown: str) -> str:
    literals = (re.sub(r"(?:\\ ){2,}", " {2,}", re.escape(part)) for part in shown.split("…"))
    return ".*".join(literals)


def _examples_of(block: Block) -> Iterator[Example]:
    for example in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        words = shlex.split(example[1])
        environ = {}
        while assignment := _ASSIGNMENT.fullmatch(words[0]):
            environ[assignment[1]] = assignment[2]
            del words[0]
        assert words[0] == "vmnet", f"{block.page.name}:{block.line}: only $ vmnet … can be run"
        line = block.line + block.text.count("\n", 0, example.start())
        yield Example(block.page, line, environ, tuple(words[1:]), example[2])
