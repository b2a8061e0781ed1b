"""Refuse a boot from the network (PXE) that can't work, which a firmware would try for minutes."""

from __future__ import annotations

from vmnet.errors import MachineError
from vmnet.model.identity import Identity
from vmnet.model.wiring import UserMode, Wiring
from vmnet.planning.booting import boot_order
from vmnet.settings import core
from vmnet.settings.table import Settings


def require(settings: Settings, identity: Identity, wiring: Wiring, *, outside: bool) -> None:
    """Check that the first NIC can get a boot file, if VMNET_BOOT has the network.

    :param outside: another system gives the guest its addresses, and says what to boot
    :raises MachineError: nothing can answer the boot program
    """
    if boot_order.network(settings) is None:
        return
    given = f"VMNET_BOOT={settings.given[core.BOOT.name]}"
    (interface, port), *_ = wiring.pairs(identity)
    if isinstance(port.path, UserMode):
        raise MachineError(
            f"{given}: {port.path.program}, a user-mode network, names no boot file to the guest",
            "use VMNET_BRIDGE=auto, which needs NET_ADMIN, or boot from a disk or CD",
        )
    if outside:
        return
    names = settings[core.IPAM]
    if not wiring.contain:
        raise MachineError(
            f"{given}: no strategy of VMNET_IPAM={','.join(names)} answers the "
            "guest's boot program, which asks by DHCP",
            "add dnsmasq to VMNET_IPAM and set VMNET_BOOT_URL; or set NO_DHCP=true if the "
            "network's own DHCP server knows what to boot",
        )
    if all(address.version != 4 for address in interface.addresses):
        raise MachineError(
            f"{given}: {interface.name}, the only NIC that boots, has no IPv4 address, and boot "
            "over IPv6 is not supported",
            "name an interface with IPv4 first in VMNET_INTERFACES, or boot from a disk or CD",
        )
