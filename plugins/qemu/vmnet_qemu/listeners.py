"""Find QEMU's own listeners on the network: VNC, serial consoles, monitors, gdb.

The container's address belongs to the guest, so published ports (``-p``) reach these only if
VMNET_KEEP_PORTS keeps the port. On a spare address of the bridge, everyone on the network does.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

from vmnet.api import KEEP_PORTS, SettingsError
from vmnet_qemu import rows
from vmnet_qemu.arguments import Options

_log = logging.getLogger(__name__)
_VNC_OPTIONS = ("-vnc", "--vnc")
_AUTHENTICATED = ("password", "password-secret", "sasl")
_OFF = ("off", "no", "false", "n")
# Character devices of qemu(1): `tcp:0.0.0.0:4444,server=on` and `udp:PEER:4444@0.0.0.0:4444`.
_STREAM = re.compile(r"(?:mon:)?(?:tcp|telnet|websocket|tn3270):(?P<host>\[.*\]|[^:,]*):\d+")
_DATAGRAMS = re.compile(r"(?:mon:)?udp:[^@,]*@(?P<host>\[.*\]|[^:,]*):\d+")
_NETWORK_OPTIONS = ("-netdev", "-nic", "-net")
_LOOPBACK = re.compile(r"localhost|127\.[\d.]+|\[?::1\]?")
_RECIPE = (
    "use a Unix socket in a folder of the host: `-e VMNET_VNC=unix:/vnc/vm.sock -v /srv/vnc:/vnc`, "
    "or `-serial unix:/vnc/serial.sock,server=on,wait=off`"
)
_VNC, _GDB = 5900, 1234  # the port of display 0, and of `-s`
_PORT = re.compile(r":(\d+)$")


def check(options: Options) -> None:
    """Warn of each listener on the network whose port the container does not keep.

    :raises SettingsError: anyone who reaches the VNC display could use it
    """
    for origin, value in _displays(options):
        if _is_on_network(value):
            shown = origin + value.split(",")[0]
            if not _authenticates(value, options.extra):
                raise SettingsError(
                    f"{shown} listens on the network without a password",
                    f"{_RECIPE}; or add `,password-secret=vnc` to the display, and "
                    "`-object secret,id=vnc,file=/run/secrets/vnc`",
                )
            _warn(shown, _port(shown, _VNC), options)
    for listener in _other_listeners(options.extra):
        _warn(listener, _GDB if listener == "-s" else _port(listener), options)


def _warn(listener: str, port: int | None, options: Options) -> None:
    """Warn of a listener, unless the container keeps its port.

    :param listener: its option and address; the option's other parts may contain passwords
    """
    kept = options.settings[KEEP_PORTS] or ()
    if any(ports.protocol == "tcp" and port in ports for ports in kept):
        return
    remedy = f"set VMNET_KEEP_PORTS={port}; or {_RECIPE}" if port else _RECIPE
    _log.warning(
        "%s: published ports (`-p`) do not reach this listener of QEMU, because the container's "
        "address belongs to the guest; if the bridge has a spare address, everyone on the network "
        "reaches it there",
        listener,
        extra={"event": "port.unreachable", "hint": remedy},
    )


def _port(listener: str, first: int = 0) -> int | None:
    """Return the port of a listener's address.

    :param first: the port of number 0
    """
    match = _PORT.search(listener)
    return first + int(match[1]) if match else None


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


def _authenticates(display: str, extra: tuple[str, ...]) -> bool:
    """Return whether a VNC display asks for a password, a certificate or a key."""
    parts = display.split(",")[1:]
    if any(_has(name, parts) for name in _AUTHENTICATED):
        return True
    credentials = _fields(parts).get("tls-creds")
    return credentials is not None and any(
        _fields(parts).get("id") == credentials and _verifies(parts)
        for option, value in _pairs(extra)
        if option in ("-object", "--object") and (parts := _parts(value))
    )


def _verifies(credentials: list[str]) -> bool:
    """Return whether TLS credentials authenticate the client: a key, or a certificate by default.

    Without them, TLS only encrypts.
    """
    kind = credentials[0].removeprefix("qom-type=")
    verify = _fields(credentials).get("verify-peer")
    return kind == "tls-creds-psk" or (kind == "tls-creds-x509" and verify not in _OFF)


def _parts(value: str) -> list[str]:
    """Return the parts of an option, the first of which is its kind.

    QEMU takes some options as JSON as well.
    """
    document = _json(value)
    if document is None:
        return value.split(",")
    words = {True: "on", False: "off"}
    texts = {
        key: words[item] if isinstance(item, bool) else str(item) for key, item in document.items()
    }
    kind = texts.pop("qom-type", None) or texts.get("type", "")
    return [kind, *(f"{key}={text}" for key, text in texts.items())]


def _json(value: str) -> dict[str, Any] | None:
    """Return an option in JSON, or None if it has another form; QEMU refuses malformed JSON."""
    if not value.startswith("{"):
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _fields(parts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (part.partition("=") for part in parts)}


def _has(name: str, parts: list[str]) -> bool:
    """Return whether an option is set and not off."""
    fields = _fields(parts)
    return name in fields and fields[name] not in _OFF


def _other_listeners(extra: tuple[str, ...]) -> Iterator[str]:
    """Yield the option and the address of each listener on the network."""
    for option, value in _pairs(extra):
        name = "-" + option.lstrip("-")
        if name == "-s":  # short for `-gdb tcp::1234`
            yield name
        elif option.startswith("-") and name != "-append":
            found = _listener(name, value)
            if found is not None and not _LOOPBACK.fullmatch(found[0]):
                yield f"{name} {found[1]}"


def _listener(option: str, value: str) -> tuple[str, str] | None:
    """Return the host on which an option listens, empty for all, and the address as text.

    :return: None if the option does not listen on an address
    """
    parts = _parts(value)
    fields = _fields(parts)
    kind = fields.get("type") or fields.get("backend") or parts[0]
    serves = _has("server", parts)
    document = _json(value)
    if document is not None and kind != "socket":
        addresses = _listening(document, option in ("-chardev", "-incoming"))
        return next(addresses, None)
    if option == "-spice":
        return _address(fields, "addr", "port") or _address(fields, "addr", "tls-port")
    if option in _NETWORK_OPTIONS:
        return _network_listener(kind, fields, serves=serves)
    if option == "-chardev":
        if kind == "udp":
            return _address(fields, "localaddr", "localport")
        return _address(fields, "host", "port") if kind == "socket" and serves else None
    if option == "-incoming" and "addr.port" in fields:
        return _address(fields, "addr.host", "addr.port")
    if datagrams := _DATAGRAMS.match(value):
        return datagrams["host"], datagrams[0]
    stream = _STREAM.match(value)
    listens = serves or option in ("-gdb", "-incoming")
    return (stream["host"], stream[0]) if stream and listens else None


def _listening(value: object, is_server: bool) -> Iterator[tuple[str, str]]:
    """Yield the addresses in JSON on which QEMU listens.

    :param is_server: whether an address is one, unless `server` says otherwise
    """
    if not isinstance(value, dict):
        return
    if isinstance(value.get("server"), bool):
        is_server = value["server"]
    if is_server and "port" in value:
        host = str(value.get("host", ""))
        yield host, f"{host}:{value['port']}"
    for key, child in value.items():
        yield from _listening(child, is_server or key == "local")


def _network_listener(kind: str, fields: dict[str, str], *, serves: bool) -> tuple[str, str] | None:
    """Return the listener of a network back end, which accepts frames for the guest."""
    if kind == "socket":
        bound = fields.get("listen", fields.get("localaddr") if "udp" in fields else None)
        return None if bound is None else (bound.rpartition(":")[0], bound)
    if kind == "stream" and serves:
        return _address(fields, "addr.host", "addr.port")
    return _address(fields, "local.host", "local.port") if kind == "dgram" else None


def _address(fields: dict[str, str], host: str, port: str) -> tuple[str, str] | None:
    """Return a host and the address from an option's fields, or None without a port."""
    if port not in fields:
        return None
    return fields.get(host, ""), f"{fields.get(host, '')}:{fields[port]}"


def _pairs(words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each word with the word after it."""
    return zip(words, (*words[1:], ""), strict=False)
