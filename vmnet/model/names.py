"""Checks for host and domain names that vmnet writes to files of other programs."""

from __future__ import annotations

import re

# RFC 1123 section 2.1, and the underscore that engines allow. None of these characters can end a
# line, start a comment or separate fields in the configuration files that vmnet writes.
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)


def is_label(text: str) -> bool:
    """Whether ``text`` is a single label: a host name without a domain."""
    return _LABEL.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether ``text`` is a domain or host name, absolute or not."""
    stripped = text.removesuffix(".")
    return 0 < len(stripped) <= 253 and all(map(is_label, stripped.split(".")))


def shown(text: str) -> str:
    """Return ``text`` for a line of output, quoted if it contains unprintable characters."""
    return text if text.isprintable() else repr(text)
