"""Choose the number of queues of the guest's NICs, so that several CPUs can serve a NIC."""

from __future__ import annotations

from vmnet.errors import MachineError
from vmnet.model.nic_models import VIRTIO
from vmnet.planning.hardware import sizing, vhost
from vmnet.settings import core
from vmnet.settings.table import Settings

_MOST = 4  # unless the user asks for more


def most(settings: Settings) -> int:
    """Return the number of queues of a virtio NIC.

    More than one gains something only with vhost-net: otherwise a single thread of the hypervisor
    serves all queues.

    :raises MachineError: VMNET_QUEUES is larger than the number of CPUs
    """
    wanted, cpus = settings[core.QUEUES], sizing.cpu_count(settings)
    if wanted is None:
        return min(cpus, _MOST) if vhost.is_used(settings) else 1
    if wanted > cpus:
        raise MachineError(
            f"VMNET_QUEUES={wanted}, but the guest has {cpus} CPUs, and each serves one queue",
            f"set VMNET_QUEUES={cpus} or VMNET_CPUS={wanted}",
        )
    return wanted


def count(settings: Settings, interface: str) -> int:
    """Return the number of queues of an interface's NIC; only virtio has several."""
    is_virtio = settings[core.NIC_MODEL].of(interface) == VIRTIO
    return most(settings) if is_virtio else 1
