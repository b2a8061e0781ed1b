"""What the nouns have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs


class Noun:
    """Compared by value, and a readable ``repr``.

    For all nouns at once: attrs would write and compile each of these for each class, at every
    start, which is more than half of what the classes cost. So they are declared
    ``@frozen(eq=False, repr=False, slots=False)``; slots would have each class made twice.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return tuple(_values(self)) == tuple(_values(other))

    def __hash__(self) -> int:
        return hash((type(self), *_values(self)))

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in _fields(self) if one.repr)
        return f"{type(self).__name__}({', '.join(shown)})"


def _values(noun: object) -> Iterator[Any]:
    return (getattr(noun, one.name) for one in _fields(noun) if one.eq)


def _fields(noun: object) -> tuple[attrs.Attribute[Any], ...]:
    cls: type[attrs.AttrsInstance] = type(noun)  # type: ignore[assignment]
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return fields
