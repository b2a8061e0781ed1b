"""Find QEMU's own listeners on the network: VNC, serial consoles, monitors, gdb.

The container's address belongs to the guest, so published ports (``-p``) never reach these. On a
spare address of the bridge, everyone on the network does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from vmnet.api import SettingsError
from vmnet_qemu import rows
from vmnet_qemu.arguments import Options

_log = logging.getLogger(__name__)
_VNC_OPTIONS = ("-vnc", "--vnc")
_AUTHENTICATED = ("password", "password-secret", "sasl", "tls-creds")
# `tcp:0.0.0.0:4444,server=on` as for -serial (qemu(1), character devices).
_STREAM = re.compile(r"(?:mon:)?(?:tcp|telnet|websocket|tn3270):(?P<host>\[.*\]|[^:,]*):\d+")
_LOOPBACK = re.compile(r"localhost|127\.[\d.]+|\[?::1\]?")
_RECIPE = (
    "use a Unix socket in a folder of the host: `-e VMNET_VNC=unix:/vnc/vm.sock -v /srv/vnc:/vnc`, "
    "or `-serial unix:/vnc/serial.sock,server=on,wait=off`"
)


def check(options: Options) -> None:
    """Warn of each listener on the network.

    :raises SettingsError: anyone who reaches the VNC display could use it
    """
    for origin, value in _displays(options):
        if _is_on_network(value):
            if not _authenticates(value):
                raise SettingsError(
                    f"{origin}{value} listens on the network without a password",
                    f"{_RECIPE}; or add `,password-secret=vnc` to the display, and "
                    "`-object secret,id=vnc,file=/run/secrets/vnc`",
                )
            _warn(origin + value)
    for listener in _other_listeners(options.extra):
        _warn(listener)


def _warn(listener: str) -> None:
    _log.warning(
        "%s: published ports (`-p`) do not reach this listener of QEMU, because the container's "
        "address belongs to the guest",
        listener,
        extra={"hint": _RECIPE},
    )


def _displays(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the VNC displays, each after the setting or the option that it is from."""
    if display := options.settings[rows.VNC]:
        yield "VMNET_VNC=", display
    for option, value in _pairs(options.extra):
        if option in _VNC_OPTIONS:
            yield "-vnc ", value
        elif option in ("-display", "--display") and value.startswith("vnc="):
            yield "-vnc ", value.removeprefix("vnc=")


def _is_on_network(display: str) -> bool:
    """Return whether a VNC display, such as ``0.0.0.0:0,share=ignore``, listens on the network."""
    address, *rest = display.split(",")
    if address == "none" or address.startswith("unix:") or _has("reverse", rest):
        return False
    return not _LOOPBACK.fullmatch(address.rpartition(":")[0])


def _authenticates(display: str) -> bool:
    return any(_has(name, display.split(",")[1:]) for name in _AUTHENTICATED)


def _has(name: str, options: list[str]) -> bool:
    """Return whether an option is set and not off."""
    values = {key: value for key, _, value in (option.partition("=") for option in options)}
    return name in values and values[name] not in ("off", "no")


def _other_listeners(extra: tuple[str, ...]) -> Iterator[str]:
    for option, value in _pairs(extra):
        name = "-" + option.lstrip("-")
        if name == "-s":  # short for `-gdb tcp::1234`
            yield name
        elif option.startswith("-") and name != "-append":
            host = _host(name, value)
            if host is not None and not _LOOPBACK.fullmatch(host):
                yield f"{name} {value}"


def _host(option: str, value: str) -> str | None:
    """Return the address on which an option listens, empty for all; None if it does not listen."""
    parts = value.split(",")
    fields = {key: text for key, _, text in (part.partition("=") for part in parts)}
    if option == "-spice":
        return fields.get("addr", "") if "port" in fields or "tls-port" in fields else None
    if option != "-gdb" and not _has("server", parts):
        return None
    if option == "-chardev" and parts[0] == "socket":
        return fields.get("host", "") if "port" in fields else None
    stream = _STREAM.match(value)
    return stream["host"] if stream else None


def _pairs(words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each word with the word after it."""
    return zip(words, (*words[1:], ""), strict=False)
