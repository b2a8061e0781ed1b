"""``channel``: serial channels between the container and programs in the guest (virtio-serial)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vmnet.api import AGENT_CHANNEL, RUN_DIR, Channel, Setting, Settings, hookimpl, optional, values

VMNET_CONTRACT = (1, 0)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", re.ASCII)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value) or value == AGENT_CHANNEL:
        raise ValueError(
            f"a name such as org.example.control.0, other than {AGENT_CHANNEL}, of at most 60 "
            "letters, digits, '.', '_' and '-'"
        )
    return value


NAMES = optional(
    "VMNET_CHANNEL_NAMES",
    values.listed(_name),
    "comma-separated names of channels in the guest, such as org.example.control.0",
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return (NAMES,)


@hookimpl
def vmnet_devices(settings: Settings) -> tuple[Channel, ...]:
    """Return the channels. Their sockets have short names: a path has room for 17 bytes more."""
    names = settings[NAMES] or ()
    return tuple(
        Channel(name, settings[RUN_DIR] / f"channel{number}.sock")
        for number, name in enumerate(names)
    )
