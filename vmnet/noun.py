"""What the nouns have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["Noun", "noun"]

if TYPE_CHECKING:
    from attrs import frozen as noun
else:
    # Comparison and `repr` are Noun's; for slots, attrs would make each class twice.
    noun = partial(attrs.frozen, eq=False, repr=False, slots=False)


class Noun:
    """Compared by value, and a readable ``repr``: the base of what ``@noun`` decorates.

    For all nouns at once: attrs would write and compile each of these for each class, at every
    start, which is more than half of what the classes cost.
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
