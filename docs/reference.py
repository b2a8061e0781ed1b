"""Generate the parts of the documentation that come from the code.

    python docs/reference.py           list the pages that are out of date; exit with 1 if any are
    python docs/reference.py --write   update them

The generated parts are environment.md and, in other pages, the text between
``<!-- generated: NAME -->`` and ``<!-- end -->``. tests/unit/test_docs.py checks that they are
current.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docs import public_names
from vmnet import errors, events
from vmnet.hooks import discovery, loading
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.stages import STAGES, Stage
from vmnet.planning import capabilities
from vmnet.running.metrics.table import METRICS
from vmnet.settings import core
from vmnet.settings.table import Setting

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"

_MARK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
_INTRODUCTION = """\
# Environment variables

This page is for people who configure VMs. It lists every environment variable of vmnet and the
plugins that come with it. `python docs/reference.py --write` generates it from the table that
`vmnet config` prints and that every start uses. Do not edit it by hand.

These rules apply to all variables:

- An **empty** variable counts as unset, because Compose files pass empty text for a missing value.
- An **unknown** `VMNET_…` variable stops the start, and the error suggests the nearest known name.
  vmnet ignores the variables that engines inject for a link or a Service named `vmnet…`
  (`VMNET_PORT_80_TCP_ADDR`, `VMNET_SERVICE_HOST`, `VMNET_ENV_…`).
- A variable that may contain **passwords** (`{secrets}`) can be
  given as a file: `VMNET_USER_DATA_FILE=/run/secrets/user-data`. vmnet prints the path, and never
  the content. See [passwords](operations.md#passwords).
- The start, `vmnet plan` and `vmnet check` name variables that are set and **have no effect**:
  those of a strategy that is not selected, that need another variable or contradict it, or that the
  bridge strategy in use ignores.
- A **yes or no** is `true`, `1`, `yes`, `on`, or `false`, `0`, `no`, `off`, in upper or lower case.
- A **size** is a number followed by `K`, `M`, `G` or `T`, or a number of MiB.
- A **list** is separated by commas and contains each entry once.
- A **path** is absolute, as the container sees it.
- `-` as default means unset.
"""


def environment() -> str:
    """Return the page of all variables: the core's first, then each shipped plugin's."""
    plugins = loading.load(shipped())
    secrets = "`, `".join(row.name for row in plugins.settings() if row.secret)
    introduction = _INTRODUCTION.replace("{secrets}", secrets)
    sections = [introduction, _section("The core", core.CORE)]
    for name in plugins.names:
        given = plugins.call(name, "vmnet_settings", (list, tuple)) or ()
        rows = [row for row in given if row not in core.CORE]
        if rows:
            sections.append(_section(f"The plugin `{name}`", rows))
    return "\n".join(sections)


def exit_codes() -> str:
    """Return the table of error classes, sorted by exit code."""
    rows = sorted({(error.exit_code, error.__name__, error.meaning) for error in errors.FAMILY})
    return _table(("code", "class", "meaning"), ((str(code), *rest) for code, *rest in rows))


def needed_capabilities() -> str:
    """Return the table of the capabilities that a start checks."""
    rows = ((name, entry.purpose, entry.without) for name, entry in capabilities.NEEDED.items())
    return _table(("capability", "needed for", "without it"), rows)


def log_events() -> str:
    """Return the table of the log's events."""
    rows = ((f"`{name}`", meaning) for name, meaning in events.EVENTS.items())
    return _table(("event", "meaning"), rows)


def metrics() -> str:
    """Return the table of the metrics."""
    head = ("metric", "type", "labels", "meaning")
    rows = (
        (
            f"`{metric.name}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels) or "-",
            metric.help,
        )
        for metric in METRICS
    )
    return _table(head, rows)


def signatures() -> dict[str, str]:
    """Return the signature of each hook, and the plugins that implement the hook."""
    plugins = loading.load(shipped())
    return {
        hook: _signature(
            stage, hook, [name for name in plugins.names if plugins.implements(name, hook)]
        )
        for stage in STAGES
        for hook in stage.hooks
    }


def shipped() -> list[Plugin]:
    """Return the plugins of this distribution, without other installed plugins."""
    names = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["vmnet"]
    return [plugin for plugin in discovery.discover() if plugin.name in names]


def render(page: Path) -> str:
    """Return the text that the page must have."""
    if page.name == "environment.md":
        return environment()
    parts = {
        **signatures(),
        "exit codes": exit_codes(),
        "capabilities": needed_capabilities(),
        "events": log_events(),
        "metrics": metrics(),
        "public names": public_names.page(),
    }
    return _MARK.sub(lambda mark: f"{mark[1]}{parts[mark[2]]}{mark[3]}", page.read_text())


def pages() -> tuple[Path, ...]:
    """Return the pages that are wholly or partly generated."""
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
    """Return what the parser expects, from the message of its error."""
    for invalid in ("\n", "'"):
        try:
            row.parse(invalid)
        except ValueError as error:
            return str(error).partition(": ")[0]
    return "any text"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _signature(stage: Stage, hook: str, implemented: list[str]) -> str:
    plugins = ", ".join(f"`{plugin}`" for plugin in implemented) or "none"
    return (
        f"```python\n{_definition(getattr(stage.specs, hook))}```\n\n"
        f"Called: {_called(stage)}. Implemented by: {plugins}.\n"
    )


def _called(stage: Stage) -> str:
    """Return which plugins vmnet calls for a stage."""
    if stage.setting is None:
        return "every installed plugin"
    if stage.follows is not None and stage.follows.setting is not None:
        first = f"each strategy that `{stage.follows.setting.name}` names"
        return f"{first}, then each plugin that `{stage.setting.name}` names, in that order"
    if isinstance(stage.setting.parse(stage.setting.default), tuple):
        called = f"each strategy that `{stage.setting.name}` names, in that order"
    else:
        called = f"the strategy that `{stage.setting.name}` names"
    return f"{called}, {stage.condition}" if stage.condition else called


def _definition(function: Callable[..., Any]) -> str:
    """Return the lines of a definition, from ``def`` to the colon."""
    source = inspect.getsource(function)
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    return "".join(source.splitlines(keepends=True)[node.lineno - 1 : node.body[0].lineno - 1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
