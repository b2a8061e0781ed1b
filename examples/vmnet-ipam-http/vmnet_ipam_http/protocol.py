"""What goes over the wire, and the form that an answer must have. openapi.yaml says the same."""

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

MOST_BYTES = 1 << 20  # of an answer
MOST = 256  # entries of a list
_LONGEST = 253  # characters of a text: a domain name's
_MOST_NUMBER = (1 << 32) - 1  # a metric's
# Neither a zone, which may be any text, nor a netmask: a prefix length.
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}", re.ASCII)
_PREFIX = re.compile(r"[0-9A-Fa-f.:]{2,45}/[0-9]{1,3}", re.ASCII)


@frozen
class InterfaceAnswer:
    """What the service says about one NIC; None where it says nothing."""

    name: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] | None = None
    routes: tuple[Route, ...] | None = None


@frozen
class IdentityAnswer:
    """What the service says; None where it says nothing."""

    interfaces: tuple[InterfaceAnswer, ...] | None = None
    hostname: str | None = None
    domain: str | None = None
    nameservers: tuple[IPv4Address | IPv6Address, ...] | None = None
    search: tuple[str, ...] | None = None
    hosts: tuple[Host, ...] | None = None
    ntp: tuple[IPv4Address | IPv6Address, ...] | None = None


def question(identity: Identity) -> dict[str, Any]:
    """The body that asks for an allocation."""
    return {
        "hostname": identity.hostname,
        "domain": identity.domain,
        "interfaces": [
            {
                "name": one.name,
                "mac": one.mac,
                "mtu": one.mtu,
                "addresses": list(map(str, one.addresses)),
            }
            for one in identity.interfaces
        ],
    }


def read(body: bytes) -> IdentityAnswer:
    """An answer of the right form, which says nothing yet of its sense.

    :raises ValueError: the body is something else
    """
    if len(body) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    try:
        document = json.loads(body, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    try:
        answer: IdentityAnswer = _converter().structure(document, IdentityAnswer)
        return answer
    except cattrs.BaseValidationError as error:
        found = cattrs.transform_error(error, path="$", format_exception=lambda one, _: str(one))
        raise ValueError("; ".join(found[:3])) from None
    except ValueError as error:
        raise ValueError(f"{error} @ $") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Of two members with one name readers take either, so it has neither."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has two members of one name")
    return found


def _converter() -> cattrs.Converter:
    """Takes exactly the form that is documented: cattrs by itself makes text of numbers, say."""
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
    """An object with the members of a class. Those that begin with ``x-`` are the service's own."""
    structure = make_dict_structure_fn(cls, converter)
    known = tuple(one.name for one in attrs.fields(cls))
    required = tuple(one.name for one in attrs.fields(cls) if one.default is attrs.NOTHING)

    def read_noun(value: Any, kind: Any) -> Any:
        given = _typed(value, dict, "an object")
        for name in given:
            if name not in known and not name.startswith("x-"):
                raise ValueError(f"unknown member {name!r}{values.nearest(name, known)}")
        for name in required:
            if given.get(name) is None:
                raise ValueError(f"the member {name!r} is missing")
        said: Mapping[str, Any] = {
            name: value for name, value in given.items() if name in known and value is not None
        }
        return structure(said, kind)

    return read_noun


def _tuple(converter: cattrs.Converter, kind: Any) -> Callable[[Any, Any], Any]:
    entry = get_args(kind)[0]

    def read_tuple(value: Any, _kind: Any) -> Any:
        entries = _typed(value, list, "a list")
        if len(entries) > MOST:
            raise ValueError(f"a list of {len(entries)} entries, where {MOST} is the most")
        return tuple(converter.structure(entries, list[entry]))  # type: ignore[valid-type]

    return read_tuple


def _typed(value: Any, kind: type[Any], expected: str) -> Any:
    if type(value) is not kind:  # a bool is no number, though Python's is an int
        raise ValueError(f"{_shown(value)} is not {expected}")
    return value


def _text(value: Any) -> str:
    text: str = _typed(value, str, "a text")
    if len(text) > _LONGEST:
        raise ValueError(f"a text of {len(text)} characters, where {_LONGEST} is the most")
    return text


def _number(value: Any) -> int:
    number: int = _typed(value, int, "a whole number")
    if not 0 <= number <= _MOST_NUMBER:
        raise ValueError(f"{number} is not from 0 to {_MOST_NUMBER}")
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
    """The beginning of a value, as JSON has it."""
    return json.dumps(value)[:60]
