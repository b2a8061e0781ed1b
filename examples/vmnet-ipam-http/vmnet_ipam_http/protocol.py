"""The protocol: bodies of requests, and parsing of answers. openapi.yaml is its specification."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from typing import Any, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from vmnet.api import Host, Identity, Route, frozen, values

MAX_BYTES = 1 << 20  # of an answer
MAX_ENTRIES = 256  # of a list
_MAX_TEXT = 253  # characters, the limit of a domain name
_MAX_NUMBER = (1 << 32) - 1  # the limit of a metric
# Without zones, which may be any text, and without netmasks.
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}", re.ASCII)
_PREFIX = re.compile(r"[0-9A-Fa-f.:]{2,45}/[0-9]{1,3}", re.ASCII)


@frozen
class InterfaceAnswer:
    """The service's answer for a NIC; None for parts that it omits."""

    name: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] | None = None
    routes: tuple[Route, ...] | None = None


@frozen
class IdentityAnswer:
    """The service's answer; None for parts that it omits."""

    interfaces: tuple[InterfaceAnswer, ...] | None = None
    hostname: str | None = None
    domain: str | None = None
    nameservers: tuple[IPv4Address | IPv6Address, ...] | None = None
    search: tuple[str, ...] | None = None
    hosts: tuple[Host, ...] | None = None
    ntp: tuple[IPv4Address | IPv6Address, ...] | None = None


def question(identity: Identity) -> dict[str, Any]:
    """Return the body of a request for an allocation."""
    return {
        "hostname": identity.hostname,
        "domain": identity.domain,
        "interfaces": [
            {
                "name": interface.name,
                "mac": interface.mac,
                "mtu": interface.mtu,
                "addresses": list(map(str, interface.addresses)),
            }
            for interface in identity.interfaces
        ],
    }


def read(body: bytes) -> IdentityAnswer:
    """Parse an answer, without checking its consistency.

    :raises ValueError: the body is malformed
    """
    if len(body) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    try:
        document = json.loads(body, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        answer: IdentityAnswer = _converter().structure(document, IdentityAnswer)
        return answer
    except cattrs.BaseValidationError as error:
        messages = cattrs.transform_error(
            error, path="$", format_exception=lambda exception, _: str(exception)
        )
        raise ValueError("; ".join(messages[:3])) from None
    except ValueError as error:
        raise ValueError(f"{error} @ $") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse JSON objects with duplicate members, which parsers resolve differently."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of the same name")
    return members


def _converter() -> cattrs.Converter:
    """Return a converter that is as strict as the specification; cattrs would convert types."""
    converter = cattrs.Converter()
    converter.register_structure_hook_factory(attrs.has, lambda cls: _noun(converter, cls))
    converter.register_structure_hook_factory(_is_tuple, lambda kind: _tuple(converter, kind))
    converter.register_structure_hook(str, lambda value, _: _text(value))
    converter.register_structure_hook(int, lambda value, _: _number(value))
    converter.register_structure_hook(bool, lambda value, _: _typed(value, bool, "true or false"))
    address = _parsed(_ADDRESS, ip_address, "an IP address")
    for kind, hook in (
        (IPv4Address | IPv6Address, address),
        (IPv4Interface | IPv6Interface, _parsed(_PREFIX, ip_interface, "an address with prefix")),
        (IPv4Network | IPv6Network, _parsed(_PREFIX, ip_network, "a network with prefix")),
    ):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(
        IPv4Address | IPv6Address | None,
        lambda value, kind: None if value is None else address(value, kind),
    )
    return converter


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _noun(converter: cattrs.Converter, cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Parse an object with the members of a class; ignore members that begin with ``x-``."""
    structure = make_dict_structure_fn(cls, converter)
    known = tuple(field.name for field in attrs.fields(cls))
    required = tuple(field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING)

    def read_noun(value: Any, kind: Any) -> Any:
        given = _typed(value, dict, "an object")
        for name in given:
            if name not in known and not name.startswith("x-"):
                raise ValueError(f"unknown member {name!r}{values.nearest(name, known)}")
        for name in required:
            if given.get(name) is None:
                raise ValueError(f"the member {name!r} is missing")
        members: Mapping[str, Any] = {
            name: value for name, value in given.items() if name in known and value is not None
        }
        return structure(members, kind)

    return read_noun


def _tuple(converter: cattrs.Converter, kind: Any) -> Callable[[Any, Any], Any]:
    entry = get_args(kind)[0]

    def read_tuple(value: Any, _kind: Any) -> Any:
        entries = _typed(value, list, "a list")
        if len(entries) > MAX_ENTRIES:
            raise ValueError(
                f"a list has {len(entries)} entries, but at most {MAX_ENTRIES} are allowed"
            )
        return tuple(converter.structure(entries, list[entry]))  # type: ignore[valid-type]

    return read_tuple


def _typed(value: Any, kind: type[Any], expected: str) -> Any:
    if type(value) is not kind:  # not isinstance(): a bool is an int
        raise ValueError(f"{_shown(value)} is not {expected}")
    return value


def _text(value: Any) -> str:
    text: str = _typed(value, str, "a text")
    if len(text) > _MAX_TEXT:
        raise ValueError(f"a text has {len(text)} characters, but at most {_MAX_TEXT} are allowed")
    return text


def _number(value: Any) -> int:
    number: int = _typed(value, int, "a whole number")
    if not 0 <= number <= _MAX_NUMBER:
        raise ValueError(f"{number} is not from 0 to {_MAX_NUMBER}")
    return number


def _parsed(
    form: re.Pattern[str], parse: Callable[[str], Any], expected: str
) -> Callable[[Any, Any], Any]:
    def read_parsed(value: Any, _kind: Any) -> Any:
        text = _text(value)
        with suppress(ValueError):
            if form.fullmatch(text):
                return parse(text)
        raise ValueError(f"{_shown(text)} is not {expected}")

    return read_parsed


def _shown(value: Any) -> str:
    """Return the beginning of a value as JSON."""
    return json.dumps(value)[:60]
