"""What the nouns have in common."""

from __future__ import annotations

import attrs


class Noun:
    """A readable ``repr`` for all.

    attrs would write and compile one for each class, at every start: half of what the classes cost.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        cls: type[attrs.AttrsInstance] = type(self)  # type: ignore[assignment]
        shown = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in attrs.fields(cls)
            if field.repr
        )
        return f"{cls.__name__}({', '.join(shown)})"
