"""Columns that are as wide as their content."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format rows below an upper-case head."""
    return "\n".join(columns([[cell.upper() for cell in head], *rows]))


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Align the cells of rows; the last column is not padded."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        gap.join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    ]
