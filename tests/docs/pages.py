"""The pages of the documentation, taken apart: prose, code blocks, commands with their output."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)
# Commands that neither need a container's network nor look at it.
_OFFLINE = ("hooks", "config")


@frozen
class Block:
    """A fenced block.

    :param line: of its first line in the page
    """

    page: Path
    line: int
    language: str
    text: str


@frozen
class Example:
    """A command and what the page says that it prints, ``…`` standing for anything."""

    page: Path
    line: int
    environ: dict[str, str]
    arguments: tuple[str, ...]
    output: str

    @property
    def is_offline(self) -> bool:
        return self.arguments[0] in _OFFLINE

    def require(self, said: str) -> None:
        """The output is as the page has it."""
        if not pattern(self.output).fullmatch(said):
            pytest.fail(f"{self.page.name}:{self.line} shows\n{self.output}\nbut it is\n{said}")

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def name(page: Path) -> str:
    """The page's path, for a test's name."""
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """Every block of these languages."""
    return [one for page in PAGES for one in blocks_of(page) if one.language in languages]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(page, line, found[1], found[2])


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _BLOCK.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    """What stands in back quotes."""
    return _SPAN.findall(prose(page))


def examples() -> list[Example]:
    """Every ``$ vmnet …`` of the console blocks."""
    return [one for block in blocks("console") for one in _examples_of(block)]


def settled_environment() -> dict[str, str]:
    """The environment without what would change an example's output."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key != "NO_DHCP" and not key.startswith("VMNET_")
    }
    return {**inherited, "VMNET_ACCEL": "tcg"}  # no word about the machine's lack of KVM


def pattern(output: str) -> re.Pattern[str]:
    """``…`` within a line is any text, and alone on a line any number of lines.

    Columns are as wide as what they hold, further plugins that are installed included.
    """
    lines = (r"(?:.*\n)*?" if line == "…" else _line(line) + r"\n" for line in output.splitlines())
    return re.compile("".join(lines))


def _line(shown: str) -> str:
    literal = (re.sub(r"(?:\\ ){2,}", " {2,}", re.escape(one)) for one in shown.split("…"))
    return ".*".join(literal)


def _examples_of(block: Block) -> Iterator[Example]:
    for found in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        words = shlex.split(found[1])
        environ = {}
        while match := _ASSIGNMENT.fullmatch(words[0]):
            environ[match[1]] = match[2]
            del words[0]
        assert words[0] == "vmnet", f"{block.page.name}:{block.line}: $ vmnet … is what can be run"
        line = block.line + block.text.count("\n", 0, found.start())
        yield Example(block.page, line, environ, tuple(words[1:]), found[2])
