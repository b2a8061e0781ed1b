"""Choose the guest's NICs: one for each interface, in the model that the settings name."""

from __future__ import annotations

import logging

from attrs import evolve

from vmnet.errors import MachineError
from vmnet.model.identity import Identity, Interface
from vmnet.model.machine import Nic
from vmnet.model.nic_models import VIRTIO
from vmnet.model.wiring import Port, Tap, Wiring
from vmnet.planning.booting import boot_order
from vmnet.planning.hardware import vhost
from vmnet.settings import core
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)
_ETHERNET_MTU = 1500


def of(settings: Settings, identity: Identity, wiring: Wiring) -> tuple[Nic, ...]:
    """Return the NICs of a start, in the order of the wiring.

    :raises MachineError: VMNET_NIC_MODEL names an interface that the guest never gets
    """
    pairs = tuple(wiring.pairs(identity))
    _check_names(settings, [interface.name for interface, _ in pairs])
    found = [
        nic(settings, f"net{number}", interface, port)
        for number, (interface, port) in enumerate(pairs)
    ]
    found[:1] = [evolve(own, boot=boot_order.network(settings)) for own in found[:1]]
    small = [
        f"{interface.name} ({own.model}, {own.mtu} bytes)"
        for (interface, _), own in zip(pairs, found, strict=True)
        if own.model != VIRTIO and own.mtu < _ETHERNET_MTU
    ]
    if small:
        _log.info(
            "only a virtio NIC announces its MTU; the guest must set the MTU of %s as DHCP, router "
            "advertisements or cloud-init say",
            ", ".join(small),
            extra={"event": "nic.mtu"},
        )
    return tuple(found)


def nic(settings: Settings, name: str, interface: Interface, port: Port) -> Nic:
    """Return the guest's NIC for an interface.

    :param name: the hypervisor's name of its back end
    """
    model = settings[core.NIC_MODEL].of(interface.name)
    has_vhost = model == VIRTIO and isinstance(port.backend, Tap) and vhost.is_used(settings)
    backend = port.backend
    return Nic(name, port.guest_mac, interface.guest_mtu, backend, model, vhost=has_vhost)


def described(nic: Nic) -> str:
    """Return the model and how its packets are carried, in words."""
    queues = len(nic.backend.fds) if isinstance(nic.backend, Tap) else 1
    shown = f"{queues} queues" if queues > 1 else ""
    return ", ".join(filter(None, (nic.model, shown, "vhost" if nic.vhost else "")))


def _check_names(settings: Settings, names: list[str]) -> None:
    given = settings.given.get(core.NIC_MODEL.name, "")
    for name, _ in settings[core.NIC_MODEL].exceptions:
        if name in names:
            continue
        if not settings[core.HOTPLUG]:
            raise MachineError(
                f"VMNET_NIC_MODEL={given}: the guest gets no interface {name}",
                f"the interfaces are {', '.join(names)}",
            )
        _log.info(
            "VMNET_NIC_MODEL=%s: the container has no interface %s yet",
            given,
            name,
            extra={"event": "nic.model_unused"},
        )
