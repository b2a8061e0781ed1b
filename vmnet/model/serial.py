"""Convert the data types to JSON and back.

Every start writes JSON, which needs only attrs. Reading imports cattrs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import Any, TypeVar, get_args

import attrs

from vmnet.model.devices import Device

Instance = TypeVar("Instance")

_AS_TEXT = (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    Path,
)
_READERS: Mapping[Any, Callable[[str], Any]] = {
    IPv4Address | IPv6Address: ip_address,
    IPv4Interface | IPv6Interface: ip_interface,
    IPv4Network | IPv6Network: ip_network,
}


def plain(instance: Any) -> Any:
    """Convert an attrs instance to dictionaries, lists, text and numbers."""
    return attrs.asdict(instance, value_serializer=_plain_value)


def to_json(instance: Any) -> str:
    """Convert an attrs instance to an indented JSON document."""
    return json.dumps(plain(instance), indent=2) + "\n"


def from_json(text: str, cls: type[Instance]) -> Instance:
    """Read an instance of ``cls`` that :func:`to_json` wrote.

    :raises ValueError: the text is not JSON, or does not match the class
    """
    import cattrs

    try:
        read: Instance = _converter().structure(json.loads(text), cls)
        return read
    except (cattrs.BaseValidationError, AttributeError, TypeError, KeyError) as error:
        details = "; ".join(cattrs.transform_error(error, path=cls.__name__))
        raise ValueError(details) from error


def _plain_value(_cls: type, _field: Any, value: Any) -> Any:
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, bytes):
        from base64 import b64encode

        return b64encode(value).decode("ascii")
    return value


def _converter() -> Any:
    from base64 import b64decode

    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    for text_type in _AS_TEXT:
        converter.register_structure_hook(text_type, lambda value, kind: kind(value))
    for union, read in _READERS.items():
        converter.register_structure_hook(union, partial(_read, read))
        converter.register_structure_hook(union | None, partial(_read, read))
    converter.register_structure_hook(bytes, lambda value, _: b64decode(value))
    converter.register_structure_hook(
        Device, lambda value, _: converter.structure(value, _class_with(value, Device))
    )
    return converter


def _class_with(value: Mapping[str, Any], union: Any) -> type:
    """Return the class of a union whose fields the value has. No two have the same fields."""
    for cls in get_args(union):
        if attrs.fields_dict(cls).keys() == value.keys():
            found: type = cls
            return found
    raise KeyError(f"no device has the fields {', '.join(value) or '(none)'}")


def _read(read: Callable[[str], Any], value: str | None, _kind: type) -> Any:
    return None if value is None else read(value)
