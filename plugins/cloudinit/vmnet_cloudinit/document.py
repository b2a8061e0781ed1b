"""Readable YAML in which values cannot change the structure."""

from __future__ import annotations

from typing import Any


def dump(data: dict[str, Any]) -> bytes:
    """Render a block-style document in the order of ``data``."""
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=False, width=1000)
    return text.encode()
