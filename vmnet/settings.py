"""Parse the environment once into frozen settings.

Each setting is a row: name, parser, default, help. This module ends with the rows of the core, and
plugins add rows with the ``vmnet_settings`` hook. Parsing, error messages, ``vmnet config`` and
docs/environment.md all use these rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from attrs import field, frozen

from vmnet import values
from vmnet.errors import PluginError, SettingsError
from vmnet.noun import Noun, noun

Value = TypeVar("Value")

# Docker links and Kubernetes services named vmnet or vmnet-… inject variables with this prefix.
# These are not misspelt settings.
_INJECTED = (
    r"VMNET(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PROTO"
    r"|START|END|PORT(_START|_END)?))?)?|NAME|ENV_.+)"
)


@frozen(eq=False)
class Setting(Generic[Value]):
    """A row of the table, and the typed key of its value in :class:`Settings`.

    :param parse: converts text to a value; its ValueError states what is expected
    :param default: text, parsed like text from the environment; empty if unset means None
    :param help: one line for ``vmnet config`` and the reference
    """

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str


def setting(name: str, parse: Callable[[str], Value], default: str, help: str) -> Setting[Value]:
    """Return a row whose value is never None."""
    return Setting(name, parse, default, help)


def optional(name: str, parse: Callable[[str], Value], help: str) -> Setting[Value | None]:
    """Return a row whose value is None unless the environment sets it."""
    return Setting(name, parse, "", help)


@noun
class Settings(Noun):
    """The parsed environment.

    :param rows: all settings, by name
    :param given: the raw text of each setting in the environment
    """

    rows: Mapping[str, Setting[Any]]
    given: Mapping[str, str]
    _parsed: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, row: Setting[Value]) -> Value:
        return cast("Value", self._parsed[row.name])

    def __iter__(self) -> Iterator[Setting[Any]]:
        return iter(self.rows.values())

    def is_given(self, row: Setting[Any]) -> bool:
        return row.name in self.given


def parse(environ: Mapping[str, str], rows: Iterable[Setting[Any]]) -> Settings:
    """Parse all settings from ``environ``.

    An empty variable counts as unset, because Compose files pass it for a missing value.

    :raises SettingsError: a value is malformed, or a ``VMNET_`` variable is unknown
    :raises PluginError: two rows have the same name
    """
    table = _table(rows)
    given = {name: environ[name] for name in table if environ.get(name)}
    _refuse_unknown(environ, tuple(table))
    parsed = {
        row.name: _parse_value(row, given.get(row.name, row.default)) for row in table.values()
    }
    return Settings(table, given, parsed)


def value(environ: Mapping[str, str], row: Setting[Value]) -> Value:
    """Parse a single setting, without the rows of plugins.

    :raises SettingsError: the value is malformed
    """
    return cast("Value", _parse_value(row, environ.get(row.name) or row.default))


def _table(rows: Iterable[Setting[Any]]) -> dict[str, Setting[Any]]:
    table: dict[str, Setting[Any]] = {}
    for row in rows:
        if table.setdefault(row.name, row) is not row:
            raise PluginError(
                f"the setting {row.name} is declared twice",
                "begin a plugin's settings with VMNET_<PLUGIN>_; `vmnet hooks` lists the plugins",
            )
    return table


def _refuse_unknown(environ: Mapping[str, str], known: tuple[str, ...]) -> None:
    for variable in environ:
        if variable.startswith("VMNET_") and variable not in known:
            if re.fullmatch(_INJECTED, variable, re.ASCII):
                continue
            raise SettingsError(
                f"unknown variable {variable}{values.nearest(variable, known)}",
                "`vmnet config` lists every variable",
            )


def _parse_value(row: Setting[Any], raw: str) -> Any:
    if not raw:
        return None
    try:
        return row.parse(raw)
    except ValueError as error:
        shown = raw if len(raw.splitlines()) == 1 else repr(raw)  # keep the error on one line
        raise SettingsError(
            f"{row.name}={shown} is not {error}",
            f"{row.help}; set it with `-e {row.name}=…`",
        ) from None


NO_DHCP = setting(
    "NO_DHCP",
    values.boolean,
    "false",
    "do not serve DHCP; another system gives the guest its address (same as VMNET_IPAM=nodhcp)",
)
CAPTURE = setting(
    "VMNET_CAPTURE", values.name, "netns", "strategy that records the container's identity"
)
BRIDGE = setting(
    "VMNET_BRIDGE", values.name, "bridge", "strategy that connects interfaces to the guest"
)
IPAM = setting(
    "VMNET_IPAM",
    values.listed(values.name),
    "dnsmasq",
    "comma-separated strategies that hand the identity to the guest",
)
FORWARDER = setting(
    "VMNET_FORWARDER",
    values.name,
    "dnsmasq",
    "strategy that forwards the guest's DNS queries if the container's resolver is on loopback",
)
LAUNCH = setting("VMNET_LAUNCH", values.name, "qemu", "strategy that starts the VM")
INTERFACES = optional(
    "VMNET_INTERFACES",
    values.listed(values.name),
    "comma-separated interfaces to hand over; unset: all",
)
HOST_NETWORK = setting(
    "VMNET_HOST_NETWORK",
    values.choice("refuse", "take"),
    "refuse",
    "refuse or take over a network that other programs use, as with `--network host`",
)
BRIDGE_ADDRESS = setting(
    "VMNET_BRIDGE_ADDRESS",
    values.bridge_address,
    "auto",
    "the bridge's own address: auto, link-local, spare (a free address of the subnet), or a CIDR",
)
FILTER = setting(
    "VMNET_FILTER",
    values.boolean,
    "on",
    "limit the guest to its own MAC and addresses; off: it may route, or run several machines",
)
DNS = optional(
    "VMNET_DNS",
    values.listed(values.ip),
    "comma-separated nameservers for the guest, instead of the container's",
)
NTP = optional("VMNET_NTP", values.listed(values.ip), "comma-separated time servers for the guest")
DISK = optional("VMNET_DISK", values.absolute_path, "disk image or block device to boot")
DISK_FORMAT = setting(
    "VMNET_DISK_FORMAT",
    values.choice("auto", "qcow2", "raw", "vpc"),
    "auto",
    "format of VMNET_DISK; auto detects it; vpc is VHD",
)
DISK_MODE = setting(
    "VMNET_DISK_MODE",
    values.choice("persistent", "ephemeral"),
    "persistent",
    "keep the guest's writes to VMNET_DISK (persistent), or discard them (ephemeral)",
)
CDROM = optional("VMNET_CDROM", values.absolute_path, "ISO image in the guest's CD drive")
KERNEL = optional("VMNET_KERNEL", values.absolute_path, "kernel to boot directly")
INITRD = optional("VMNET_INITRD", values.absolute_path, "initial ramdisk for VMNET_KERNEL")
APPEND = optional("VMNET_APPEND", values.text, "kernel command line for VMNET_KERNEL")
DEMO = setting(
    "VMNET_DEMO",
    values.absolute_path,
    "/usr/share/vmnet/demo",
    "folder of the demonstration Linux, which boots if no disk, CD or kernel is set",
)
MEMORY = setting("VMNET_MEMORY", values.size, "512M", "the guest's memory, such as 512M or 2G")
CPUS = setting("VMNET_CPUS", values.integer(1, 1024), "1", "the guest's virtual CPUs")
ACCEL = setting(
    "VMNET_ACCEL",
    values.choice("auto", "kvm", "tcg"),
    "auto",
    "accelerator; auto: KVM if the device and the CPU support it, otherwise TCG",
)
GUARD = setting(
    "VMNET_GUARD",
    values.boolean,
    "on",
    "on: a stop signal presses the guest's power button; off: it ends the hypervisor at once",
)
STOP_TIMEOUT = setting(
    "VMNET_STOP_TIMEOUT",
    values.integer(1, 86400),
    "8",
    "seconds for the guest to power off before QEMU quits; `docker stop -t` must be longer",
)
HOOK_TIMEOUT = setting(
    "VMNET_HOOK_TIMEOUT",
    values.integer(1, 86400),
    "60",
    "seconds after which vmnet interrupts a plugin's hook or import",
)
RUN_DIR = setting(
    "VMNET_RUN_DIR",
    values.folder,
    "/run/vmnet",
    "folder, owned by root, for saved state, rendered files and control sockets",
)
LOG = setting("VMNET_LOG", values.choice("text", "json"), "text", "format of the log on stderr")
LOG_LEVEL = setting(
    "VMNET_LOG_LEVEL",
    values.choice("debug", "info", "warning", "error"),
    "info",
    "least severe level to log; debug adds tracebacks",
)

CORE: tuple[Setting[Any], ...] = (
    NO_DHCP,
    CAPTURE,
    BRIDGE,
    IPAM,
    FORWARDER,
    LAUNCH,
    INTERFACES,
    HOST_NETWORK,
    BRIDGE_ADDRESS,
    FILTER,
    DNS,
    NTP,
    DISK,
    DISK_FORMAT,
    DISK_MODE,
    CDROM,
    KERNEL,
    INITRD,
    APPEND,
    DEMO,
    MEMORY,
    CPUS,
    ACCEL,
    GUARD,
    STOP_TIMEOUT,
    HOOK_TIMEOUT,
    RUN_DIR,
    LOG,
    LOG_LEVEL,
)
