"""Values of secret settings from files, as engines mount them in /run/secrets."""

from __future__ import annotations

import stat
from pathlib import Path

from vmnet import engine
from vmnet.errors import SettingsError

SUFFIX = "_FILE"
_LIMIT = 4 << 20  # bytes


def read(variable: str, path: Path) -> str:
    """Return the text of a file, without the ends of lines at its end. Errors never quote it.

    :raises SettingsError: the file is missing, not text, or too large
    """
    shown = f"{variable}={path}"
    if not path.is_absolute():
        raise SettingsError(
            f"{shown} is not an absolute path in the container",
            "name the file by its path, such as /run/secrets/NAME",
        )
    content = _read(shown, path)
    if len(content) > _LIMIT:
        raise SettingsError(f"{shown} is larger than {_LIMIT >> 20} MiB", "name the right file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SettingsError(f"{shown} is not UTF-8 text", "name the right file")
    return text.rstrip("\r\n")


def _read(shown: str, path: Path) -> bytes:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # opening a FIFO without a writer would block
            with path.open("rb") as file:
                return file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"{shown}: no such file in the container", engine.mount(path, ":ro")
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"can't read {shown}: {reason}", "check the owner and mode of the file and of its mount"
        ) from None
    raise SettingsError(f"{shown} is not a regular file", engine.no_file())
