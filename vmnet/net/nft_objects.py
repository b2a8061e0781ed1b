"""Make the objects of nftables rulesets, as libnftables-json(5) has them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmnet.model.ports import PortRange

Object = dict[str, Any]

ACCEPT: Object = {"accept": None}
DROP: Object = {"drop": None}


def without_table(family: str, name: str) -> list[Object]:
    """Return commands that remove a table, if there is one."""
    table = {"family": family, "name": name}
    # Deleting a table that does not exist would be an error.
    return [{"add": {"table": table}}, {"delete": {"table": table}}]


def add_table(family: str, name: str) -> Object:
    return {"add": {"table": {"family": family, "name": name}}}


def add_chain(
    family: str, table: str, name: str, rules: Iterable[list[Object]], **hook: Any
) -> Iterator[Object]:
    """Yield commands that add a chain of filters and its rules.

    :param hook: the chain's ``hook``, its priority ``prio``, and for the family ``netdev`` its
        ``dev``
    """
    chain = {"table": table, "family": family, "name": name, "type": "filter", **hook}
    yield {"add": {"chain": {**chain, "policy": "accept"}}}
    for rule in rules:
        yield {"add": {"rule": {"table": table, "family": family, "chain": name, "expr": rule}}}


def field(protocol: str, name: str) -> Object:
    """Return the expression for a header's field."""
    return {"payload": {"protocol": protocol, "field": name}}


def raw(base: str, offset: int, length: int) -> Object:
    """Return the expression for bits of a packet, whose change does not update a checksum.

    :param base: the header from which the offset counts: ll, nh or th
    """
    return {"payload": {"base": base, "offset": offset, "len": length}}


def meta(key: str) -> Object:
    return {"meta": {"key": key}}


def members(elements: Iterable[Any]) -> Object:
    """Return an anonymous set."""
    return {"set": list(elements)}


def numbers(ports: Iterable[PortRange]) -> Object:
    """Return the set of the ports."""
    return members(
        each.first if each.first == each.last else {"range": [each.first, each.last]}
        for each in ports
    )


def equal(left: Object, right: Any) -> Object:
    return {"match": {"op": "==", "left": left, "right": right}}


def unequal(left: Object, right: Any) -> Object:
    return {"match": {"op": "!=", "left": left, "right": right}}


def replace(key: Object, value: Any) -> Object:
    """Return the statement that replaces a header's field."""
    return {"mangle": {"key": key, "value": value}}
