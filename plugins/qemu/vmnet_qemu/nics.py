"""The arguments for NICs, and the same words for QEMU's control socket. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmnet.api import MachineError, Nic, Stream, Tap
from vmnet_qemu import slots
from vmnet_qemu.quoting import escape

_DRIVERS = {"virtio": "virtio-net-pci"}  # QEMU's other models have the names of their drivers


def arguments(nics: Sequence[Nic], places: slots.Places, version: tuple[int, int]) -> Iterator[str]:
    """Yield the NICs with their back ends.

    :param version: QEMU's version, if a NIC is on a socket
    :raises MachineError: there are more NICs than slots and functions
    """
    if len(nics) > slots.MAX_NICS:
        raise MachineError(
            f"the container has {len(nics)} network interfaces, but QEMU's machine has slots for "
            f"{slots.MAX_NICS}",
            "list the interfaces for the guest in VMNET_INTERFACES; the container keeps the rest",
        )
    for number, nic in enumerate(nics):
        yield from ("-netdev", _backend(nic, version))
        driver, *properties = (f"{key}={value}" for key, value in device(nic).items())
        words = (driver.removeprefix("driver="), *properties, places.nic(number))
        yield from ("-device", ",".join(words))


def device(nic: Nic) -> Mapping[str, object]:
    """Return the properties of a NIC without its place; the driver is the first.

    Only a NIC to boot from has QEMU's boot program (iPXE), which delays the start of any machine.
    """
    mtu = {"host_mtu": nic.mtu} if nic.model == "virtio" else {}
    boot: dict[str, object] = {"romfile": ""} if nic.boot is None else {"bootindex": nic.boot}
    driver = _DRIVERS.get(nic.model, nic.model)
    return {"driver": driver, "netdev": nic.name, "mac": nic.mac, **mtu, **boot}


def _backend(nic: Nic, version: tuple[int, int]) -> str:
    match nic.backend:
        case Tap(fds=(fd,)):
            return f"tap,id={nic.name},fd={fd}"
        case Tap(fds=fds):
            return f"tap,id={nic.name},fds={':'.join(map(str, fds))}"
        case Stream(path=path):
            socket = f"addr.type=unix,addr.path={escape(str(path))}"
            return f"stream,id={nic.name},server=off,{socket}{_reconnect(version)}"


def _reconnect(version: tuple[int, int]) -> str:
    """Return the option to connect again after a second, when the helper was started again.

    QEMU has it since 8.0, and another name for it since 9.2.
    """
    if version >= (9, 2):
        return ",reconnect-ms=1000"
    return ",reconnect=1" if version >= (8, 0) else ""
