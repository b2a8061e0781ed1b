"""Find passwords in QEMU's command line, which every user of the host can read in /proc."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import pairwise

from vmnet_qemu.arguments import Options

_log = logging.getLogger(__name__)
# With these values, `password` of `-vnc` means that the monitor sets the password.
_SWITCHES = ("", "on", "off", "yes", "no", "true", "false", "y", "n")
_REMEDY = (
    "name a file: `-object secret,id=NAME,file=/run/secrets/NAME`, and refer to it with "
    "`password-secret=NAME`"
)


def check(options: Options) -> None:
    """Warn of each option that contains a password."""
    for option in _options(options.extra):
        _log.warning(
            "%s contains a password: every user of the host can read it in the list of processes",
            option,
            extra={"event": "password.visible", "hint": _REMEDY},
        )


def _options(words: tuple[str, ...]) -> Iterator[str]:
    for option, value in pairwise(words):
        kind, *parts = value.split(",")
        fields = dict(part.partition("=")[::2] for part in (kind, *parts))
        is_secret = option in ("-object", "--object") and kind in ("secret", "qom-type=secret")
        is_plain = is_secret and "data" in fields and "keyid" not in fields  # not encrypted
        has_password = option.startswith("-") and fields.get("password", "") not in _SWITCHES
        if is_plain or has_password:
            yield option
