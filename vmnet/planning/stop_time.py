"""The time that a guest has to power off after a stop signal."""

from __future__ import annotations

from vmnet import engine

# The engines' limits are 10 seconds (Docker, Podman), and 30 (terminationGracePeriodSeconds of a
# pod). The rest is for QEMU, which writes back its disks.
_DOCKER_SECONDS, _KUBERNETES_SECONDS = 8, 25


def choose(requested: int | None) -> int:
    """Return the seconds from a stop signal to the forced stop.

    :param requested: VMNET_STOP_TIMEOUT
    """
    if requested is not None:
        return requested
    return _KUBERNETES_SECONDS if engine.name() == "kubernetes" else _DOCKER_SECONDS


def shortage(requested: int | None, accelerator: str) -> str:
    """Return why the guest may be cut off; empty if it has time enough.

    :param requested: VMNET_STOP_TIMEOUT
    :param accelerator: ``kvm`` or ``tcg``
    """
    if requested is not None or accelerator != "tcg":
        return ""
    return f"an emulated guest may need longer than {choose(None)} s to power off"


def remedy() -> str:
    """Return how to give the guest more time."""
    limits = {
        "kubernetes": "terminationGracePeriodSeconds",
        "podman": "`podman run --stop-timeout`",
    }
    limit = limits.get(engine.name(), "`docker run --stop-timeout`")
    return f"raise VMNET_STOP_TIMEOUT, and {limit} above it"
