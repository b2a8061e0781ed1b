"""The capabilities(7) that a start needs, in one table, and a check that the container has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vmnet import engine
from vmnet.errors import PluginError, PrivilegeError

_STATUS = Path("/proc/self/status")
_FIRST_UNPRIVILEGED_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_LOWEST_PORT = 53


class Capability(NamedTuple):
    """A capability.

    :param number: its number in the kernel
    :param purpose: what needs it
    :param without: the consequence of its absence
    :param parts: the parts of a VM that need it
    """

    number: int
    purpose: str
    without: str
    parts: tuple[str, ...] = ("vm",)


VM, SHARE, TPM = "vm", "share", "tpm"
_SHARING, _NO_SHARING = "folders shared with the guest (`VMNET_SHARE`)", "no start with these"
_OWN_USER = "QEMU, `dnsmasq`, `swtpm` and the server of `VMNET_METRICS` as users other than root"
_ROOT = "they are root"
_SHARING_AND_TPM = f"{_SHARING}; `swtpm` (`VMNET_TPM`) as a user other than root"
NEEDED: Mapping[str, Capability] = {
    "NET_ADMIN": Capability(
        12, "bridges, taps and filters", "no start, unless with `VMNET_BRIDGE=passt`"
    ),
    "NET_RAW": Capability(
        13,
        "a spare address for the bridge; IPv6 that `dnsmasq` hands over; `vmnet status`, `health` "
        "and the metrics, to ask the guest whether it answers",
        "no start with the first two; otherwise it is unknown whether the guest answers",
    ),
    "NET_BIND_SERVICE": Capability(
        10,
        "DHCP and DNS by `dnsmasq`, and a low port in `VMNET_METRICS`, if ports below 1024 are "
        "privileged",
        "no start with these",
    ),
    "SETUID": Capability(7, _OWN_USER, _ROOT, (VM, SHARE, TPM)),
    "SETGID": Capability(6, _OWN_USER, _ROOT, (VM, SHARE, TPM)),
    "KILL": Capability(5, "signals to these users' processes", _ROOT, (VM, TPM)),
    "SETPCAP": Capability(8, "bounding sets without capabilities", "the sets remain"),
    "MKNOD": Capability(27, "making /dev/net/tun", "no start, unless the device is there"),
    "SYS_CHROOT": Capability(18, _SHARING, _NO_SHARING, (SHARE,)),
    "CHOWN": Capability(
        0, _SHARING_AND_TPM, f"{_NO_SHARING} folders; `swtpm` is root", (SHARE, TPM)
    ),
    "DAC_OVERRIDE": Capability(
        1,
        _SHARING_AND_TPM,
        f"{_NO_SHARING} folders, nor with a TPM's state that `swtpm` has had as another user; "
        "otherwise `swtpm` is root",
        (SHARE, TPM),
    ),
    "FOWNER": Capability(3, _SHARING, _NO_SHARING, (SHARE,)),
    "FSETID": Capability(4, _SHARING, _NO_SHARING, (SHARE,)),
    "SETFCAP": Capability(
        31, "file capabilities in shared folders", "the guest can't set them", ()
    ),
}


def needed_by(part: str) -> tuple[str, ...]:
    """Return the capabilities that a part of a VM needs: :data:`VM`, :data:`SHARE`, :data:`TPM`."""
    return tuple(name for name, entry in NEEDED.items() if part in entry.parts)


def require_root() -> None:
    """Check that vmnet runs as root.

    :raises PrivilegeError: it does not
    """
    if os.geteuid() != 0:
        raise PrivilegeError(
            f"vmnet runs as user {os.geteuid()}, but only root can have the capabilities that "
            "change the container's network",
            "leave out `--user` (`runAsUser` in Kubernetes); QEMU itself does not run as root",
        )


def require(name: str, user: str) -> None:
    """Check that the container has a capability.

    :param name: a key of :data:`NEEDED`
    :param user: the program that needs it
    :raises PrivilegeError: the capability is missing
    :raises PluginError: there is no such capability
    """
    require_all([(name, user)])


def require_all(needs: Iterable[tuple[str, str]]) -> None:
    """Check that the container has several capabilities; name all that it lacks.

    :param needs: each capability with the program that needs it, as for :func:`require`
    """
    lacking: dict[str, str] = {}
    for name, user in needs:
        if name not in NEEDED:
            raise PluginError(
                f"{user} needs {name}, which is not a capability that vmnet knows",
                f"Daemon.capabilities may contain {', '.join(NEEDED)}",
            )
        if not has(name) and not _is_free(name):
            lacking.setdefault(name, user)
    if not lacking:
        return
    listed = ", and ".join(f"{name}, which {user} needs" for name, user in lacking.items())
    remedy = engine.capability(*lacking)
    if "NET_ADMIN" in lacking:
        without = engine.assignment("VMNET_BRIDGE", "auto,passt")
        remedy = f"{remedy}, or set {without} for a user-mode network"
    noun = "capability" if len(lacking) == 1 else "capabilities"
    raise PrivilegeError(f"the container lacks the {noun} {listed}", remedy)


def has(name: str) -> bool:
    """Return whether this process has a capability, a key of :data:`NEEDED`."""
    return bool(held() >> NEEDED[name].number & 1)


def can_run_as_another_user() -> bool:
    """Return whether this process can run a program as another user, and then signal it."""
    return all(has(name) for name in ("SETUID", "SETGID", "KILL"))


def held() -> int:
    """Return this process's effective capabilities as bits (proc_pid_status(5))."""
    for line in _STATUS.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "CapEff":
            return int(value, 16)
    raise AssertionError(f"{_STATUS} has no CapEff")


def _is_free(name: str) -> bool:
    """Return whether the kernel does not require a capability here, as in Docker's namespaces."""
    if name != "NET_BIND_SERVICE":
        return False
    return int(_FIRST_UNPRIVILEGED_PORT.read_text()) <= _LOWEST_PORT
