"""Choose whether the kernel carries the guest's packets (vhost-net), in place of the hypervisor."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet import engine
from vmnet.errors import MachineError
from vmnet.planning.hardware import accelerator, architecture
from vmnet.settings import core
from vmnet.settings.table import Settings

DEVICE = Path("/dev/vhost-net")


def is_used(settings: Settings) -> bool:
    """Return whether virtio NICs on taps use vhost-net.

    :raises MachineError: VMNET_VHOST is on, but the device can't be opened
    """
    wanted = settings[core.VHOST]
    if wanted == "off":
        return False
    fault = _obstacle()
    if wanted == "on" and fault:
        raise MachineError(
            f"VMNET_VHOST=on, but {fault}",
            f"on a host with the module vhost_net {engine.device(DEVICE)}; or set VMNET_VHOST=auto",
        )
    return wanted == "on" or (not fault and _has_kvm(settings))


def _has_kvm(settings: Settings) -> bool:
    """Return whether KVM runs the guest. In emulation, vhost-net gains nothing."""
    return settings[core.ACCEL] != "tcg" and not accelerator.obstacle(architecture.choose(settings))


def _obstacle() -> str:
    """Return why the device can't be opened; empty if it can."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE} can't be opened: {error.strerror}"
    return ""
