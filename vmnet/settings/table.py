"""Rows of settings, and the environment parsed by them.

Plugins add rows with the ``vmnet_settings`` hook. Parsing, its errors, ``vmnet config`` and
docs/environment.md use the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import attrs

from vmnet import engine
from vmnet.errors import PluginError, SettingsError
from vmnet.model.base import frozen
from vmnet.settings import secret_files, values

Value = TypeVar("Value")

HIDDEN = "(hidden)"
"""Stands for the value of a secret setting."""

# Docker links and Kubernetes services named vmnet or vmnet-… inject variables with this prefix.
# These are not misspelt settings.
_INJECTED = (
    r"VMNET(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PROTO"
    r"|START|END|PORT(_START|_END)?))?)?|NAME|ENV_.+)"
)


@attrs.frozen(eq=False)
class Setting(Generic[Value]):
    """A row of the table, and the typed key of its value in :class:`Settings`.

    :param parse: converts text to a value; its ValueError states what is expected
    :param default: text, parsed like text from the environment; empty if unset means None
    :param help: one line for ``vmnet config`` and the reference
    :param strategy: the strategy or strategies that use the setting; empty if any start does. vmnet
        sets it to the plugin that declares the row
    :param needs: the setting without which this setting has no effect
    :param unless: settings with which this setting has no effect
    :param by_bridge: only a bridge strategy gives the setting an effect, if it returns this row
        from ``vmnet_settings``
    :param secret: whether the value may contain passwords. vmnet never prints it, and accepts it as
        a file, too, from a variable whose name ends in ``_FILE``
    :param declarer: the core or the plugin that declares the row; vmnet sets it
    """

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str
    strategy: str | tuple[str, ...] = ""
    declarer: str = "vmnet"
    secret: bool = False
    needs: Setting[Any] | None = None
    unless: tuple[Setting[Any], ...] = ()
    by_bridge: bool = False

    def shown(self, raw: str) -> str:
        """Return what to print for a text from the environment."""
        return HIDDEN if self.secret else raw


def setting(
    name: str,
    parse: Callable[[str], Value],
    default: str,
    help: str,
    *,
    strategy: str | tuple[str, ...] = "",
    secret: bool = False,
    needs: Setting[Any] | None = None,
    unless: tuple[Setting[Any], ...] = (),
    by_bridge: bool = False,
) -> Setting[Value]:
    """Return a row whose value is never None."""
    return Setting(
        name,
        parse,
        default,
        help,
        strategy,
        secret=secret,
        needs=needs,
        unless=unless,
        by_bridge=by_bridge,
    )


def optional(
    name: str,
    parse: Callable[[str], Value],
    help: str,
    *,
    secret: bool = False,
    needs: Setting[Any] | None = None,
    unless: tuple[Setting[Any], ...] = (),
    by_bridge: bool = False,
) -> Setting[Value | None]:
    """Return a row whose value is None unless the environment sets it."""
    return Setting(
        name, parse, "", help, secret=secret, needs=needs, unless=unless, by_bridge=by_bridge
    )


@frozen
class Settings:
    """The parsed environment.

    :param rows: all settings, by name
    :param given: the raw text of each setting in the environment, or in its file
    :param files: the files of the settings that the environment gives as files, by their names
    """

    rows: Mapping[str, Setting[Any]]
    given: Mapping[str, str] = attrs.field(repr=False)
    _parsed: Mapping[str, Any] = attrs.field(repr=False)
    files: Mapping[str, Path] = attrs.Factory(dict)

    def __getitem__(self, row: Setting[Value]) -> Value:
        return cast("Value", self._parsed[row.name])

    def __iter__(self) -> Iterator[Setting[Any]]:
        return iter(self.rows.values())

    def replaced(self, row: Setting[Value], value: Value) -> Settings:
        """Return the settings with another value of one of them."""
        return attrs.evolve(self, parsed={**self._parsed, row.name: value})

    def is_given(self, row: Setting[Any]) -> bool:
        return row.name in self.given

    def origin(self, row: Setting[Any]) -> str:
        """Return the variable that sets the row, with the path if it names a file."""
        path = self.files.get(row.name)
        return row.name if path is None else _file(row, path)


def parse(environ: Mapping[str, str], rows: Iterable[Setting[Any]]) -> Settings:
    """Parse all settings from ``environ``.

    An empty variable counts as unset, because Compose files pass it for a missing value.

    :raises SettingsError: a value is malformed, a file is unusable, or a ``VMNET_`` variable is
        unknown
    :raises PluginError: two rows have the same name, or a default is malformed
    """
    table = _table(rows)
    given = {name: environ[name] for name in table if environ.get(name)}
    variables = {f"{row.name}{secret_files.SUFFIX}": row for row in table.values() if row.secret}
    _refuse_unknown(environ, (*table, *variables))
    files = {}
    for variable, row in variables.items():
        if variable not in table and (path := file(environ, row)):
            if row.name in given:
                raise SettingsError(
                    f"{row.name} and {variable} contradict each other", "unset one of them"
                )
            given[row.name] = secret_files.read(variable, path)
            files[row.name] = path
    parsed = {
        row.name: _parsed(row, given.get(row.name), files.get(row.name)) for row in table.values()
    }
    return Settings(table, given, parsed, files)


def file(environ: Mapping[str, str], row: Setting[Any]) -> Path | None:
    """Return the file that contains the value of a secret row, or None."""
    path = environ.get(f"{row.name}{secret_files.SUFFIX}")
    return Path(path) if row.secret and path else None


def value(environ: Mapping[str, str], row: Setting[Value]) -> Value:
    """Parse a single setting, without the rows of plugins.

    :raises SettingsError: the value is malformed
    """
    return cast("Value", _parsed(row, environ.get(row.name)))


def _table(rows: Iterable[Setting[Any]]) -> dict[str, Setting[Any]]:
    table: dict[str, Setting[Any]] = {}
    for row in rows:
        first = table.setdefault(row.name, row)
        if first is not row:
            raise PluginError(
                f"the setting {row.name} is declared twice: by {first.declarer} and {row.declarer}",
                "begin a plugin's settings with VMNET_<PLUGIN>_; `vmnet hooks` lists the plugins",
            )
    return table


def _refuse_unknown(environ: Mapping[str, str], known: tuple[str, ...]) -> None:
    for variable in environ:
        if variable.startswith("VMNET_") and variable not in known:
            if re.fullmatch(_INJECTED, variable, re.ASCII):
                continue
            raise SettingsError(
                f"unknown variable {variable}{values.nearest(variable, known, 'VMNET_')}",
                "`vmnet config` lists every variable",
            )


def _parsed(row: Setting[Any], given: str | None, path: Path | None = None) -> Any:
    """Return the value of a row: parsed from the environment, or from the default.

    :param path: the file that contains the text
    """
    raw = given or row.default
    if not raw:
        return None
    try:
        return row.parse(raw)
    except ValueError as error:
        if not given:
            raise PluginError(
                f"{row.declarer} declares the default {row.name}={raw}, which is not {error}",
                f"this is a bug there; set a value with {engine.assignment(row.name, '…')}",
            ) from None
        if path is not None:
            raise SettingsError(
                f"{_file(row, path)} is not {error}", f"{row.help}; correct the file"
            ) from None
        shown = row.shown(raw)
        if len(shown.splitlines()) != 1:
            shown = repr(shown)  # keep the error on one line
        raise SettingsError(
            f"{row.name}={shown} is not {error}",
            f"{row.help}; set it with {engine.assignment(row.name, '…')}",
        ) from None


def _file(row: Setting[Any], path: Path) -> str:
    return f"{row.name}{secret_files.SUFFIX}={path}"
