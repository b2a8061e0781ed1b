"""``vmnet config``: list every environment variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmnet.hooks import discovery, loading
from vmnet.settings import table as settings
from vmnet.settings.table import Setting
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser
from vmnet.terminal.tables import table


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = Parser("config", "List every environment variable.").parse_args(arguments)
    rows = loading.load(discovery.discover()).settings()
    if options.json:
        print_json(
            [
                {
                    "name": row.name,
                    "default": row.default or None,
                    "value": _value(row, environ) or None,
                    "help": row.help,
                }
                for row in rows
            ]
        )
    else:
        lines = [(row.name, _value(row, environ), row.default or "-", row.help) for row in rows]
        print(table(("variable", "set to", "default", "meaning"), lines))
    return 0


def _value(row: Setting[Any], environ: Mapping[str, str]) -> str:
    if path := settings.file(environ, row):
        return f"(from {path})"
    given = environ.get(row.name)
    return row.shown(given) if given else ""
