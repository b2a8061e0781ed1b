"""Writes the parts of this documentation that are made from the code.

    python docs/reference.py           tell what is out of date, with status 1
    python docs/reference.py --write   bring it up to date

The generated parts are the whole of environment.md, and in other pages whatever stands between
``<!-- generated: NAME -->`` and ``<!-- end -->``. tests/unit/test_docs.py keeps all of it current.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vmnet import errors, hookspecs
from vmnet.hooks import discovery, loading
from vmnet.hooks.discovery import Plugin
from vmnet.settings import core
from vmnet.settings.table import Setting

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"

_MARK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
# Who is asked, where the hook's stage alone does not say it.
_ASKED: Mapping[str, str] = {
    "settings": "every installed plugin",
    "capture": "the strategy that `VMNET_CAPTURE` names",
    "ipam": "each strategy that `VMNET_IPAM` names, in that order",
    "bridge": "the strategy that `VMNET_BRIDGE` names",
    "forwarder": "the strategy that `VMNET_FORWARDER` names, where one is needed",
    "devices": "each strategy that `VMNET_IPAM` names, in that order",
    "launch": "the strategy that `VMNET_LAUNCH` names",
}
_INTRODUCTION = """\
# Environment variables

Made by `python docs/reference.py --write` from the same table that `vmnet config` prints and that
every start is parsed by. Do not edit it here.

What holds for all of them:

- An **empty** variable counts as unset, as Compose files pass one for a missing value.
- An **unknown** `VMNET_…` variable stops the start, with the nearest known name. Those that engines
  inject for a link or a Service named `vmnet…` (`VMNET_PORT_80_TCP_ADDR`, `VMNET_SERVICE_HOST`,
  `VMNET_ENV_…`) are passed over.
- A **yes or no** is `true`, `1`, `yes`, `on`, or `false`, `0`, `no`, `off`, in any case.
- A **size** is a number with `K`, `M`, `G` or `T`, and of MiB without one.
- A **list** has commas in between, and each entry once.
- A **path** is absolute, as the container sees it.
- `-` as default: unset, and then what the meaning says.
"""


def environment() -> str:
    """The page of every variable: the core's, then each shipped plugin's."""
    sections = [_INTRODUCTION, _section("The core", core.CORE)]
    plugins = loading.load(shipped())
    for name in plugins.names:
        rows = plugins.call(name, "vmnet_settings", (list, tuple))
        if rows:
            sections.append(_section(f"The plugin `{name}`", rows))
    return "\n".join(sections)


def exit_codes() -> str:
    """The classes of errors, in the order of their codes."""
    rows = sorted({(one.exit_code, one.__name__, one.meaning) for one in errors.FAMILY})
    return _table(("code", "class", "meaning"), ((str(code), *rest) for code, *rest in rows))


def signatures() -> dict[str, str]:
    """For each hook its signature, word for word, and who answers it."""
    plugins = loading.load(shipped())
    return {
        hook: _signature(
            stage, hook, [one for one in plugins.names if plugins.implements(one, hook)]
        )
        for stage in hookspecs.STAGES
        for hook in hooks_of(stage)
    }


def hooks_of(stage: ModuleType) -> Iterator[str]:
    """The names of a stage's hooks, in their order."""
    return (name for name in vars(stage) if name.startswith("vmnet_"))


def shipped() -> list[Plugin]:
    """The plugins of this distribution, whatever else is installed."""
    names = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["vmnet"]
    return [one for one in discovery.discover() if one.name in names]


def render(page: Path) -> str:
    """What the page must hold."""
    if page.name == "environment.md":
        return environment()
    parts = {**signatures(), "exit codes": exit_codes()}
    return _MARK.sub(lambda found: f"{found[1]}{parts[found[2]]}{found[3]}", page.read_text())


def pages() -> tuple[Path, ...]:
    """The pages of which a part or all is generated."""
    marked = (page for page in sorted(HERE.glob("*.md")) if _MARK.search(page.read_text()))
    return (HERE / "environment.md", *marked)


def main(arguments: list[str]) -> int:
    write = arguments == ["--write"]
    stale = [page for page in pages() if not page.exists() or render(page) != page.read_text()]
    for page in stale:
        if write:
            page.write_text(render(page))
        print(f"{page.name} {'written' if write else 'is out of date'}")
    return 1 if stale and not write else 0


def _section(title: str, rows: Iterable[Setting[Any]]) -> str:
    lines = ((f"`{row.name}`", _default(row), _accepted(row), row.help) for row in rows)
    return f"## {title}\n\n" + _table(("variable", "default", "takes", "meaning"), lines)


def _default(row: Setting[Any]) -> str:
    return f"`{row.default}`" if row.default else "-"


def _accepted(row: Setting[Any]) -> str:
    """What a parser expects, in its own words: those of its error."""
    for wrong in ("\n", "'"):
        try:
            row.parse(wrong)
        except ValueError as error:
            return str(error).partition(": ")[0]
    return "any text"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _signature(stage: ModuleType, hook: str, implemented: list[str]) -> str:
    name = stage.__name__.rpartition(".")[2]
    by = ", ".join(f"`{one}`" for one in implemented) or "none"
    return (
        f"```python\n{_definition(getattr(stage, hook))}```\n\n"
        f"Asked: {_ASKED[name]}. In the tree: {by}.\n"
    )


def _definition(function: Callable[..., Any]) -> str:
    """The lines of a definition from ``def`` to the colon."""
    source = inspect.getsource(function)
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    return "".join(source.splitlines(keepends=True)[node.lineno - 1 : node.body[0].lineno - 1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
