"""The names of ``vmnet.api``, with their signatures and docstrings, for docs/api.md.

tests/unit/test_contract.py compares the signatures with the file of the contract's version.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import attrs

from vmnet import api
from vmnet.errors import VmnetError
from vmnet.settings.table import Setting

_CONSTANTS = {
    "CONTRACT": "the version of this interface and of the hooks",
    "EXIT_PORT": "the I/O port at which the guard ends QEMU with a chosen exit status",
    "FIRMWARE_LOG": "QEMU's name of the buffer in which the guard looks for a failed boot",
}
_GROUPS = (
    "Data",
    "Errors",
    "Settings of the core",
    "Functions and markers",
    "Modules",
)
_QUOTED = re.compile(r"(: |-> )'([^']*)'")  # annotations are strings
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


def signatures() -> Iterator[str]:
    """Return each public name with its type or signature, sorted by name."""
    for name in sorted(_names()):
        value = getattr(api, name)
        if isinstance(value, ModuleType):
            yield from (f"{name}.{_titled(inner, own)}" for inner, own in _members(value))
        elif not (isinstance(value, type) and attrs.has(value)):  # the contract has their fields
            yield _titled(name, value)


def page() -> str:
    """Return the sections of docs/api.md."""
    sections: dict[str, list[str]] = {group: [] for group in _GROUPS}
    for name in sorted(_names(), key=str.lower):
        value = getattr(api, name)
        sections[_group(value)].append(_described(name, value))
    return "\n".join(f"## {group}\n\n{''.join(entries)}" for group, entries in sections.items())


def _names() -> tuple[str, ...]:
    return (*api.__all__, *api.LATE)


def _group(value: Any) -> str:
    if isinstance(value, ModuleType):
        return "Modules"
    if isinstance(value, Setting):
        return "Settings of the core"
    if isinstance(value, type):
        return "Errors" if issubclass(value, Exception) else "Data"
    return "Functions and markers"


def _described(name: str, value: Any) -> str:
    if isinstance(value, Setting):
        return f"- `{name}`: the value of `{value.name}`; {value.help}\n"
    if isinstance(value, ModuleType):
        members = "".join(
            f"- `{name}.{_titled(inner, own)}`{_text(own)}" for inner, own in _members(value)
        )
        return f"### `{name}`\n\n{_prose(inspect.getdoc(value) or '')}\n\n{members}\n"
    if isinstance(value, type) and issubclass(value, VmnetError):
        return f"- `{name}`, exit code {value.exit_code}: {value.meaning}\n"
    text = f": {_CONSTANTS[name]}\n" if name in _CONSTANTS else _text(value)
    return f"- `{_titled(name, value)}`{text}"


def _titled(name: str, value: Any) -> str:
    """Return a name with its signature, or its value."""
    if isinstance(value, Setting):
        return f"{name} = {value.name}"
    if isinstance(value, type) and issubclass(value, Exception):
        return f"{name}(message: str, hint: str)" if issubclass(value, VmnetError) else name
    if inspect.isroutine(value) or isinstance(value, type):
        signature = _QUOTED.sub(r"\1\2", str(inspect.signature(value)))
        return f"{name}{signature.removesuffix(' -> None')}"
    return f"{name} = {value!r}" if isinstance(value, int | str | tuple) else name


def _members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Return the public functions and classes that a module defines, in that order."""
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if (
            own
            and not name.startswith("_")
            and (inspect.isroutine(value) or inspect.isclass(value))
        ):
            yield name, value


def _text(value: Any) -> str:
    """Return a docstring as the rest of a list item: its prose, then its parameters."""
    prose, *fields = re.split(r"^:(?=param |returns?:|raises )", _documentation(value), flags=re.M)
    lines = [f": {_prose(prose)}\n" if prose.strip() else "\n"]
    for field in fields:
        kind, _, text = field.partition(":")
        word, _, subject = kind.partition(" ")
        raised = subject.rpartition(".")[2]
        label = {"param": f"`{subject}`", "raises": f"Raises `{raised}`"}.get(word, "Returns")
        lines.append(f"  - {label}: {_prose(text)}\n")
    return "".join(lines)


def _documentation(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or "")


def _prose(text: str) -> str:
    """Return the text on one line, in Markdown."""
    text = _ROLE.sub(r"`\1`", text.replace("``", "`"))
    return " ".join(text.split()).removesuffix(".")
