"""Find values of another type than the data types declare, at any depth."""

from __future__ import annotations

import re
import types
import typing
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import attrs

from vmnet.model.base import first_fault

_INTERFACES = (IPv4Interface, IPv6Interface)
_MODULE = re.compile(r"\b[a-z_.]+\.(?=[A-Z])")


def mismatch(value: Any, path: str) -> str:
    """Return the first field of an instance, or of the instances in a tuple, with a wrong type.

    :param path: how the message names the value, such as ``Identity``
    :returns: a message such as ``Identity.hostname is int, not str``, without the value, which can
        be secret; empty if all types are right
    """
    if isinstance(value, tuple):
        items = enumerate(value)
        return first_fault(mismatch(item, f"{path}[{number}]") for number, item in items)
    cls: Any = type(value)
    if not attrs.has(cls):
        return ""
    return first_fault(
        _compare(getattr(value, name), kind, f"{path}.{name}")
        for name, kind in _fields(cls).items()
    )


def _compare(value: Any, kind: Any, path: str) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if any(not _compare(value, argument, path) for argument in arguments):
            return ""
        chosen = [argument for argument in arguments if _is_instance(value, argument)]
        return _compare(value, chosen[0], path) if chosen else _wrong(value, kind, path)
    if not _is_instance(value, kind):
        return _wrong(value, kind, path)
    if origin is tuple:
        items = enumerate(value)
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) != len(value):
            return _wrong(value, kind, path)
        return first_fault(
            _compare(item, kinds[number], f"{path}[{number}]") for number, item in items
        )
    return mismatch(value, path)


def _is_instance(value: Any, kind: Any) -> bool:
    base = typing.get_origin(kind) or kind
    if not isinstance(base, type):  # a type that has no check, such as Any
        return True
    if isinstance(value, bool) and base in (int, float):
        return False
    if isinstance(value, _INTERFACES) and base in (IPv4Address, IPv6Address):
        return False  # a subclass, whose text has a prefix length
    return isinstance(value, (int, float) if base is float else base)


def _wrong(value: Any, kind: Any, path: str) -> str:
    expected = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    found = "None" if value is None else type(value).__name__
    return f"{path} is {found}, not {_MODULE.sub('', expected)}"


@cache
def _fields(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}
