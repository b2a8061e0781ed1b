"""The user's own user-data and vendor-data: read, recognised, and never changed.

cloud-init shrugs at what it does not understand, and the guest boots without it. Better to say so
here, before anything has started.
"""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from pathlib import Path
from typing import Any

from attrs import frozen

from vmnet.errors import SettingsError

LIMIT = 4 << 20
"""Bytes, as read and once more as decompressed."""

# cloudinit.handlers.INCLUSION_TYPES_MAP: the beginnings it tells types by, in any case and behind
# any white space.
_BEGINNINGS = (
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "#cloud-config",
    "#!",
    "#cloud-boothook",
    "#part-handler",
    "#include",
    "## template: jinja",
)
MIME = "MIME"
_EXPECTED = "the first line says what it is: #cloud-config, #!/bin/sh, #include, MIME-Version: …"
_GZIP = b"\x1f\x8b"
_CHECK = "`cloud-init schema -c FILE` checks it"
_HOLDS: dict[str, tuple[type, str]] = {
    "#cloud-config": (dict, "a mapping of keys"),
    "#cloud-config-archive": (list, "a list"),
}
_DEPTH = 100
_MIME_HEADER = b"mime-version:"
_MIME_WITHIN = 4096  # bytes, see cloudinit.user_data.convert_string


@frozen
class Own:
    """What the user gave, byte for byte; None where they gave nothing."""

    user_data: bytes | None = None
    vendor_data: bytes | None = None


def load(variable: str, source: Path | str | None) -> bytes | None:
    """What the variable names or holds, as it is.

    :raises SettingsError: it can't be read, or cloud-init would not understand it
    """
    if source is None:
        return None
    shown = f"{variable}={source}" if isinstance(source, Path) else f"{variable} (inline)"
    if isinstance(source, Path):
        content = _read(shown, source)
    else:
        content = source.encode("utf-8", "surrogateescape")  # the bytes of the environment
    _refuse_unknown(shown, content)
    return content


def expand(content: bytes) -> bytes:
    """The content without compression.

    :raises ValueError: the compressed data is damaged or too large
    """
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"is damaged gzip data: {error}") from None
    if len(found) > LIMIT:
        raise ValueError(f"is more than {LIMIT >> 20} MiB when decompressed")
    return found


def kind(content: bytes) -> str:
    """What cloud-init takes uncompressed content for: how it begins, ``MIME``, or nothing.

    It only looks into UTF-8 text.
    """
    try:
        beginning = content.decode().lstrip().lower()
    except UnicodeDecodeError:
        return ""
    found = next((one for one in _BEGINNINGS if beginning.startswith(one)), "")
    return found or (MIME if _MIME_HEADER in content[:_MIME_WITHIN].lower() else "")


def _read(shown: str, path: Path) -> bytes:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a FIFO without a writer would wait for ever
            with path.open("rb") as file:
                return file.read(LIMIT + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"{shown}: there is no such file in the container",
            f"mount it: `-v /path/on/the/host:{path}:ro`",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{shown} can't be read: {reason}", "check its owner and mode, and the mount's"
        ) from None
    raise SettingsError(
        f"{shown} is not a regular file",
        "docker makes a folder of a missing `-v` source: check the path on the host",
    )


def _refuse_unknown(shown: str, content: bytes) -> None:
    if len(content) > LIMIT:
        raise SettingsError(
            f"{shown} is larger than {LIMIT >> 20} MiB",
            "let the guest fetch large files itself, or put them on a disk",
        )
    if not content.strip():
        raise SettingsError(f"{shown} is empty", f"leave the variable out, or fill it: {_EXPECTED}")
    try:
        plain = expand(content)
    except ValueError as error:
        raise SettingsError(f"{shown} {error}", "compress it anew with `gzip`") from None
    found = kind(plain)
    if not found:
        raise SettingsError(
            f"{shown} starts with {plain[:32]!r}, which is nothing that cloud-init knows",
            f"{_EXPECTED}; all of it is UTF-8, and a file is named by its absolute path",
        )
    if found in _HOLDS:
        _refuse_malformed(shown, plain, found)


def _refuse_malformed(shown: str, content: bytes, found: str) -> None:
    import yaml

    expected, name = _HOLDS[found]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep(content, loader)  # which would overflow the stack of libyaml's loader
        data = yaml.load(content, loader)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(
            f"{shown} says {found}, but is not valid YAML: {_where(error)}", _CHECK
        ) from None
    if data is not None and not isinstance(data, expected):
        raise SettingsError(
            f"{shown} says {found}, but holds a {type(data).__name__}, not {name}", _CHECK
        )


def _refuse_deep(content: bytes, loader: Any) -> None:
    from yaml import CollectionEndEvent, CollectionStartEvent, parse

    depth = 0
    for event in parse(content, loader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _DEPTH:
            raise ValueError("nested too deeply")


def _where(error: Exception) -> str:
    """The place and the rule, and none of the content: it may hold passwords."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(error)
