"""What may stand as a host or domain name in a file that other programs read."""

from __future__ import annotations

import re

# RFC 1123 section 2.1 with the underscore that engines allow; nothing here can end a line, open a
# comment or separate fields in any configuration file we write.
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)


def is_label(text: str) -> bool:
    """Whether ``text`` is one label: a host name without a domain."""
    return _LABEL.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """Whether ``text`` is a domain or host name, absolute or not."""
    stripped = text.removesuffix(".")
    return 0 < len(stripped) <= 253 and all(map(is_label, stripped.split(".")))


def shown(text: str) -> str:
    """``text`` for a line that people read: as it is, unless it would end or garble the line."""
    return text if text.isprintable() else repr(text)
