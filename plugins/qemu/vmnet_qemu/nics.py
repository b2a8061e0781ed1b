"""The arguments for NICs, and the same words for QEMU's control socket. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmnet.api import Machine, MachineError, Nic, Opened, Stream, Tap
from vmnet_qemu import inherited, slots
from vmnet_qemu.quoting import escape

_DRIVERS = {"virtio": "virtio-net-pci"}  # QEMU's other models have the names of their drivers


def arguments(machine: Machine, places: slots.Places, version: tuple[int, int]) -> Iterator[str]:
    """Yield the NICs with their back ends.

    :param version: QEMU's version, if a NIC is on a socket
    :raises MachineError: there are more NICs than slots and functions
    """
    nics = machine.nics
    if len(nics) > slots.MAX_NICS:
        raise MachineError(
            f"the container has {len(nics)} network interfaces, but QEMU's machine has slots for "
            f"{slots.MAX_NICS}",
            "list the interfaces for the guest in VMNET_INTERFACES; the container keeps the rest",
        )
    for number, (nic, vhost) in enumerate(zip(nics, inherited.vhost(machine), strict=True)):
        yield from ("-netdev", _backend(nic, vhost, version))
        driver, *properties = (f"{key}={_text(value)}" for key, value in device(nic).items())
        words = (driver.removeprefix("driver="), *properties, places.nic(number))
        yield from ("-device", ",".join(words))


def device(nic: Nic) -> Mapping[str, object]:
    """Return the properties of a NIC without its place; the driver is the first.

    Only a NIC to boot from has QEMU's boot program (iPXE), which delays the start of any machine.
    """
    mtu = {"host_mtu": nic.mtu} if nic.model == "virtio" else {}
    boot: dict[str, object] = {"romfile": ""} if nic.boot is None else {"bootindex": nic.boot}
    driver = _DRIVERS.get(nic.model, nic.model)
    return {"driver": driver, "netdev": nic.name, "mac": nic.mac, **mtu, **_queues(nic), **boot}


def _queues(nic: Nic) -> Mapping[str, object]:
    """Return the properties of several queues, with an interrupt for each direction of each."""
    if not isinstance(nic.backend, Tap) or len(nic.backend.fds) < 2:
        return {}
    return {"mq": True, "vectors": 2 * len(nic.backend.fds) + 2}


def _text(value: object) -> str:
    return "on" if value is True else str(value)


def _backend(nic: Nic, vhost: Sequence[Opened], version: tuple[int, int]) -> str:
    match nic.backend:
        case Tap(fds=fds):
            parts = {"": fds, "vhost": tuple(file.fd for file in vhost)}
            words = (descriptors(prefix, found) for prefix, found in parts.items() if found)
            pairs = (f"{key}={value}" for each in words for key, value in each.items())
            return ",".join((f"tap,id={nic.name}", *pairs))
        case Stream(path=path):
            socket = f"addr.type=unix,addr.path={escape(str(path))}"
            return f"stream,id={nic.name},server=off,{socket}{_reconnect(version)}"


def descriptors(prefix: str, names: Sequence[object]) -> dict[str, str]:
    """Return the option of a tap that names the descriptors of its queues.

    :param prefix: empty for the tap's own, or ``vhost``
    """
    number = "fd" if len(names) == 1 else "fds"
    return {f"{prefix}{number}": ":".join(map(str, names))}


def _reconnect(version: tuple[int, int]) -> str:
    """Return the option to connect again after a second, when the helper was started again.

    QEMU has it since 8.0, and another name for it since 9.2.
    """
    if version >= (9, 2):
        return ",reconnect-ms=1000"
    return ",reconnect=1" if version >= (8, 0) else ""
