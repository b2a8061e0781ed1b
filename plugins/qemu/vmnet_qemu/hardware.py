"""QEMU's machines for each architecture of the guest's processor. Pure data."""

from __future__ import annotations

from vmnet.api import MachineError, frozen
from vmnet_qemu import slots


@frozen
class Hardware:
    """QEMU for an architecture.

    :param package: Debian's package of the program
    :param machine: the default machine type
    :param families: the beginnings of its machine types
    :param emulated_cpu: the CPU model without KVM
    :param tpm: the driver of a TPM
    :param display: the graphics card
    :param input: a keyboard and a pointer for it, unless the machine has them
    """

    package: str
    machine: str
    families: tuple[str, ...]
    emulated_cpu: str
    tpm: str
    display: str
    input: tuple[str, ...] = ()


_HARDWARE = {
    "x86_64": Hardware(
        package="qemu-system-x86",
        machine="q35",
        families=("q35", "pc", "isapc", "microvm"),
        emulated_cpu="max",
        tpm="tpm-crb",
        display=f"VGA,{slots.DISPLAY}",
    ),
    # An older interrupt controller, the default in emulation, is limited to 8 CPUs. Emulation of
    # the architecture's own algorithm for pointer authentication halves the speed of Linux.
    "aarch64": Hardware(
        package="qemu-system-arm",
        machine="virt,gic-version=max",
        families=("virt", "sbsa-ref"),
        emulated_cpu="max,pauth-impdef=on",
        tpm="tpm-tis-device",
        display=f"virtio-gpu-pci,multifunction=on,{slots.DISPLAY}.0",
        input=(f"qemu-xhci,id=input,{slots.DISPLAY}.1", "usb-kbd", "usb-tablet"),
    ),
}


def of(architecture: str) -> Hardware:
    """Return QEMU's hardware for one of vmnet's architectures."""
    return _HARDWARE[architecture]


def is_pc(architecture: str, machine_type: str) -> bool:
    """Return whether a machine has ISA devices."""
    return architecture == "x86_64" and machine_type.startswith(("q35", "pc"))


def of_machine_type(machine_type: str) -> str | None:
    """Return the architecture of a machine type; None if it is of no known family."""
    return next(
        (name for name, each in _HARDWARE.items() if machine_type.startswith(each.families)), None
    )


def require_architecture(machine_type: str, architecture: str) -> None:
    """Check that a machine type is not of another architecture.

    :param machine_type: with its properties
    :param architecture: of the guest
    :raises MachineError: it is
    """
    family = of_machine_type(machine_type)
    if family not in (None, architecture):
        raise MachineError(
            f"VMNET_MACHINE={machine_type} is a machine of {family}, but the guest's processor is "
            f"{architecture}",
            f"unset VMNET_MACHINE, or set VMNET_ARCH={family}",
        )


def require_pci(machine_type: str) -> None:
    """Check that a machine has the bus on which all devices are.

    :param machine_type: with its properties
    :raises MachineError: it has none
    """
    name, *properties = machine_type.split(",")
    if name == "isapc" or (name == "microvm" and "pcie=on" not in properties):
        raise MachineError(
            f"VMNET_MACHINE={machine_type} has no PCI bus, which the VM's devices need",
            "unset VMNET_MACHINE, or set it to pc for an old guest",
        )
