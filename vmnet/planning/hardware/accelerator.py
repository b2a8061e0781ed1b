"""Choose the accelerator: KVM if the device and the CPU support it, otherwise emulation (TCG)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.model.architecture import Architecture
from vmnet.planning.hardware.architecture import is_foreign

_log = logging.getLogger(__name__)
_KVM = Path("/dev/kvm")
_CPUINFO = Path("/proc/cpuinfo")


def choose(requested: str, architecture: Architecture) -> str:
    """Return ``kvm`` or ``tcg``.

    :param requested: VMNET_ACCEL
    :param architecture: of the guest
    :raises MachineError: ``requested`` is kvm, but KVM does not work
    """
    fault = obstacle(architecture)
    if requested == "kvm" and is_foreign(architecture):
        raise MachineError(f"VMNET_ACCEL=kvm, but {fault}", "unset VMNET_ACCEL or VMNET_ARCH")
    if requested == "kvm" and fault:
        raise MachineError(
            f"VMNET_ACCEL=kvm, but {fault}",
            f"on a host with virtualisation {engine.device(Path('/dev/kvm'))}; "
            "or set VMNET_ACCEL=auto",
        )
    if requested == "auto" and fault:
        _log.warning(
            "no KVM (%s): the guest runs in slow software emulation",
            fault,
            extra={"event": "machine.emulated"},
        )
    return "tcg" if requested == "tcg" or fault else "kvm"


def obstacle(architecture: Architecture) -> str:
    """Return why KVM does not work; empty if it works.

    /dev/kvm can open on a CPU that lacks the extension.

    :param architecture: of the guest
    """
    if is_foreign(architecture):
        return f"the guest's processor is {architecture.name}, the host's {os.uname().machine}"
    try:
        os.close(os.open(_KVM, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{_KVM} can't be opened: {error.strerror}"
    if os.uname().machine == "x86_64":
        # Read only the first CPU's lines: the kernel queries each CPU that it lists.
        with _CPUINFO.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "").split()
        if "vmx" not in flags and "svm" not in flags:
            return "the CPU offers neither vmx nor svm"
    return ""
