"""Read and check the user's user-data and vendor-data, without changing them.

cloud-init ignores content that it does not recognise, and the guest boots without it. Checking the
content here reports the mistake before anything has started.
"""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from vmnet.api import SettingsError, engine

LIMIT = 4 << 20
"""Bytes, both as read and decompressed."""

# The beginnings by which cloud-init recognises types (cloudinit.handlers.INCLUSION_TYPES_MAP),
# ignoring case and leading white space.
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
_EXPECTED = "begin it with its type: #cloud-config, #!/bin/sh, #include, MIME-Version: …"
_GZIP = b"\x1f\x8b"
_CHECK = "`cloud-init schema -c FILE` checks it"
_CONTAINS: dict[str, tuple[type, str]] = {
    "#cloud-config": (dict, "a mapping of keys"),
    "#cloud-config-archive": (list, "a list"),
}
_DEPTH = 100  # levels of nested collections
_MIME_HEADER = b"mime-version:"
_MIME_WITHIN = 4096  # bytes, see cloudinit.user_data.convert_string


@frozen
class UserContent:
    """The user's own content, unchanged; None if the user set nothing.

    :param ssh_keys: the public keys of the guest's default user
    :param config: further keys of a cloud-config, for the vendor-data
    :param shared_folders: the folders that the guest mounts
    """

    user_data: bytes | None = None
    vendor_data: bytes | None = None
    ssh_keys: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(factory=dict)
    shared_folders: tuple[Path, ...] = ()


def load(variable: str, source: Path | str | None) -> bytes | None:
    """Return the content that a variable names or contains, unchanged.

    :param variable: with the path, if it names a file that contains the variable's value
    :raises SettingsError: vmnet can't read it, or cloud-init would not recognise it
    """
    if source is None:
        return None
    shown = f"{variable}={source}" if isinstance(source, Path) else variable
    if isinstance(source, Path):
        content = _read(shown, source)
    else:
        content = source.encode("utf-8", "surrogateescape")  # the environment's bytes
    _refuse_unknown(shown, content)
    return content


def read_text(variable: str, path: Path) -> str:
    """Return the text of a file that a variable names.

    :raises SettingsError: vmnet can't read it
    """
    shown = f"{variable}={path}"
    content = _read(shown, path)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{shown} is not UTF-8 text", "name the right file") from None


def expand(content: bytes) -> bytes:
    """Decompress the content if it is gzip data.

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
    """Return the type that cloud-init recognises: a beginning, ``MIME``, or an empty string.

    cloud-init recognises only UTF-8 text.

    :param content: without compression
    """
    try:
        beginning = content.decode().lstrip().lower()
    except UnicodeDecodeError:
        return ""
    found = next((known for known in _BEGINNINGS if beginning.startswith(known)), "")
    return found or (MIME if _MIME_HEADER in content[:_MIME_WITHIN].lower() else "")


def _read(shown: str, path: Path) -> bytes:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # opening a FIFO without a writer would block
            with path.open("rb") as file:
                return file.read(LIMIT + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"{shown}: no such file in the container",
            engine.mount(path, ":ro"),
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"cannot read {shown}: {reason}",
            "check the owner and mode of the file and of its mount",
        ) from None
    raise SettingsError(
        f"{shown} is not a regular file",
        engine.no_file(),
    )


def _refuse_unknown(shown: str, content: bytes) -> None:
    if len(content) > LIMIT:
        raise SettingsError(
            f"{shown} is larger than {LIMIT >> 20} MiB",
            "let the guest download large files, or put them on a disk",
        )
    if not content.strip():
        raise SettingsError(f"{shown} is empty", "unset the variable, or give it content")
    try:
        plain = expand(content)
    except ValueError as error:
        raise SettingsError(f"{shown} {error}", "compress it again with `gzip`") from None
    found = kind(plain)
    if not found:  # the content may contain passwords, so the error does not quote it
        raise SettingsError(
            f"{shown} does not start with a type that cloud-init recognises",
            f"{_EXPECTED}; use UTF-8 throughout; name a file by its absolute path",
        )
    if found in _CONTAINS:
        _refuse_malformed(shown, plain, found)


def _refuse_malformed(shown: str, content: bytes, found: str) -> None:
    import yaml

    expected, description = _CONTAINS[found]
    loader = _loader()
    try:
        _refuse_deep(content, loader)  # deep nesting would overflow the stack of libyaml's loader
        data = yaml.load(content, loader)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(
            f"{shown} begins with {found}, but is not valid YAML: {_position(error)}", _CHECK
        ) from None
    if data is not None and not isinstance(data, expected):
        raise SettingsError(
            f"{shown} begins with {found}, but contains a {type(data).__name__}, not {description}",
            _CHECK,
        )


def cloud_config(content: bytes) -> dict[str, Any]:
    """Return the keys of content that was checked; none if it is of another type."""
    import yaml

    plain = expand(content)
    found = yaml.load(plain, _loader()) if kind(plain) == "#cloud-config" else None
    return found if isinstance(found, dict) else {}


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _refuse_deep(content: bytes, loader: Any) -> None:
    from yaml import CollectionEndEvent, CollectionStartEvent, parse

    depth = 0
    for event in parse(content, loader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _DEPTH:
            raise ValueError("nested too deeply")


def _position(error: Exception) -> str:
    """Return the position and the problem, without the content, which may contain passwords."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(error)
