"""The base of the data classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["Noun", "noun"]

if TYPE_CHECKING:
    from attrs import frozen as noun
else:
    # Noun has the comparison and `repr`. With slots, attrs would create each class twice.
    noun = partial(attrs.frozen, eq=False, repr=False, slots=False)


class Noun:
    """Base of classes decorated with ``@noun``: comparison by value and a readable ``repr``.

    attrs would generate and compile these methods for each class at every start, which takes more
    than half of the time that the classes cost.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return tuple(_values(self)) == tuple(_values(other))

    def __hash__(self) -> int:
        return hash((type(self), *_values(self)))

    def __repr__(self) -> str:
        shown = (
            f"{field.name}={getattr(self, field.name)!r}" for field in _fields(self) if field.repr
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def _values(noun: object) -> Iterator[Any]:
    return (getattr(noun, field.name) for field in _fields(noun) if field.eq)


def _fields(noun: object) -> tuple[attrs.Attribute[Any], ...]:
    cls: type[attrs.AttrsInstance] = type(noun)  # type: ignore[assignment]
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return fields
