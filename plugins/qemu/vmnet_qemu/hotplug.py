"""NICs that are added while QEMU runs, on PCI Express ports that QEMU has from the start.

QEMU gets the tap's descriptor through its control socket, so it needs no privilege for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from vmnet_qemu import inherited, nics, slots

if TYPE_CHECKING:
    from vmnet.api import Command, Nic, NicChange, qmp_session

# Linux removes a device five seconds after PCI Express has asked for it. On x86, ACPI asks instead,
# and Linux removes it at once, for which a busy guest may also need seconds.
_RELEASE_SECONDS = 10.0
_POLL_SECONDS = 0.05
_DEVICES = "/machine/peripheral"


def ports(count: int, machine_type: str) -> Iterator[str]:
    """Yield the arguments of the ports, each of which can get a NIC."""
    if slots.has_spare_nics(machine_type):
        for number in range(count):
            place = slots.spare_nic(number)
            yield from (
                "-device",
                f"pcie-root-port,id={_port(number)},chassis={1 + number},{place}",
            )


def change(command: Command, change: NicChange) -> None:
    """Add a NIC to QEMU, remove it, or change its carrier.

    :raises GuestError: QEMU refused, or the guest did not release the NIC
    """
    from vmnet.api import GuestError, qmp_session

    if command.qmp is None:
        raise GuestError("QEMU has no control socket", "start the VM with this version of vmnet")
    with qmp_session.session(command.qmp) as qemu:
        match change.action:
            case "plug":
                assert change.slot is not None
                _plug(qemu, change.nic, _port(change.slot))
            case "unplug":
                _unplug(qemu, change.nic)
            case _:
                up = change.action == "up"
                qemu.ask("set_link", {"name": change.nic.name, "up": up})


def _port(number: int) -> str:
    return f"port{number}"


def _plug(qemu: qmp_session.QmpSession, nic: Nic, port: str) -> None:
    from vmnet.api import GuestError

    qemu.ask("netdev_add", {"id": nic.name, **_backend(qemu, nic)})
    try:
        qemu.ask("device_add", {**nics.device(nic), "id": _device(nic), "bus": port})
    except GuestError:
        qemu.ask("netdev_del", {"id": nic.name})
        raise


def _backend(qemu: qmp_session.QmpSession, nic: Nic) -> dict[str, object]:
    """Return the description of a NIC's back end, after QEMU has got the tap's descriptors."""
    from vmnet.api import Stream

    if isinstance(nic.backend, Stream):
        address = {"type": "unix", "path": str(nic.backend.path)}
        return {"type": "stream", "server": False, "addr": address}
    with ExitStack() as opened:
        own = _passed(qemu, nic.name, nic.backend.fds)
        words = nics.descriptors("", own)
        if nic.vhost:
            fds = [_vhost(opened) for _ in own]
            words |= nics.descriptors("vhost", _passed(qemu, f"{nic.name}-vhost", fds))
    return {"type": "tap", **words}


def _passed(qemu: qmp_session.QmpSession, name: str, fds: Sequence[int]) -> list[str]:
    """Give QEMU copies of descriptors, and return the names that it knows them by."""
    names = [f"{name}-{number}" for number in range(len(fds))]
    for each, fd in zip(names, fds, strict=True):
        qemu.ask("getfd", {"fdname": each}, fds=(fd,))
    return names


def _vhost(opened: ExitStack) -> int:
    from vmnet.api import GuestError

    try:
        fd = os.open(inherited.VHOST, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise GuestError(f"{inherited.VHOST} can't be opened: {error.strerror}", "") from None
    opened.callback(os.close, fd)
    return fd


def _unplug(qemu: qmp_session.QmpSession, nic: Nic) -> None:
    """Remove a NIC, as far as it exists. Without its back end, it has no carrier.

    :raises GuestError: the guest did not release the NIC
    """
    from vmnet.api import GuestError

    device = _device(nic)
    if _exists(qemu, _DEVICES, device):
        qemu.ask("device_del", {"id": device})
    end = time.monotonic() + _RELEASE_SECONDS
    while (is_there := _exists(qemu, _DEVICES, device)) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    with suppress(GuestError):  # QEMU has no such back end if an earlier attempt was interrupted
        qemu.ask("netdev_del", {"id": nic.name})
    if is_there:
        raise GuestError(
            f"the guest did not release the NIC {nic.mac} in {_RELEASE_SECONDS:g} s",
            "its kernel needs a driver for PCI hot-plug; the NIC has no carrier until a restart",
        )


def _device(nic: Nic) -> str:
    return f"{nic.name}-nic"


def _exists(qemu: qmp_session.QmpSession, folder: str, name: str) -> bool:
    found: list[dict[str, Any]] = qemu.ask("qom-list", {"path": folder})
    return any(item["name"] == name for item in found)
