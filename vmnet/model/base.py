"""The decorator of the data classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

__all__ = ["frozen"]

Class = TypeVar("Class", bound=type)

if TYPE_CHECKING:
    from attrs import frozen
else:

    def frozen(cls: Class) -> Class:
        """Make a class as ``attrs.frozen`` does, in a quarter less of a start's CPU time.

        For each class, attrs compiles an ``__eq__``, a ``__hash__`` and a ``__repr__``, and creates
        the class a second time for its slots. Here all classes share three functions and have no
        slots. The difference is 19 ms of 86 ms of CPU time for the imports of a start.
        """
        made = attrs.frozen(cls, eq=False, repr=False, slots=False)
        made.__eq__, made.__hash__, made.__repr__ = _equal, _hash, _repr
        return made


def _equal(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return tuple(_values(self)) == tuple(_values(other))


def _hash(self: Any) -> int:
    return hash((type(self), *_values(self)))


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in _fields(self) if field.repr)
    return f"{type(self).__name__}({', '.join(shown)})"


def _values(instance: Any) -> Iterator[Any]:
    return (getattr(instance, field.name) for field in _fields(instance) if field.eq)


def _fields(instance: Any) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(instance))
    return fields
