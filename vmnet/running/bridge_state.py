"""The bridges' own addresses, which may have changed since the start."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

from vmnet.lifecycle.vm_record import GuestNic
from vmnet.model.base import frozen
from vmnet.net import ipv4


@frozen
class BridgeState:
    """The current state of a bridge.

    :param addresses: the bridge's own addresses
    :param trouble: the address lost since the start, and the consequence; empty if none is lost
    :param is_deaf: whether the bridge should forward the guest's DNS, but cannot
    """

    name: str
    addresses: tuple[IPv4Interface, ...] = ()
    trouble: str = ""
    is_deaf: bool = False


def read(nic: GuestNic) -> BridgeState:
    """Read the state of a NIC's bridge from the kernel."""
    try:
        addresses = ipv4.addresses(nic.bridge)
    except OSError as error:
        why = f"{nic.bridge}: {error.strerror or error}"
        return BridgeState(nic.bridge, trouble=why, is_deaf=bool(nic.nameservers))
    own = [str(address.ip) for address in addresses]
    if nic.bridge_address in own:
        return BridgeState(nic.bridge, addresses)
    lost = f"{nic.bridge} has lost {nic.bridge_address}"
    if nic.nameservers and not set(own) & set(nic.nameservers):
        why = f"{lost}, and does not forward the guest's DNS: restart the container"
        return BridgeState(nic.bridge, addresses, why, is_deaf=True)
    return BridgeState(nic.bridge, addresses, f"{lost}{_consequence(nic, addresses)}")


def _consequence(nic: GuestNic, addresses: tuple[IPv4Interface, ...]) -> str:
    routable = [str(address.ip) for address in addresses if not address.ip.is_link_local]
    if routable:
        return f", and has {' '.join(routable)} instead"
    if nic.nameservers:
        return ": until it has another address, names outside the network don't resolve"
    return ""


def source(nic: GuestNic) -> IPv4Address:
    """Return the source address of queries to the guest: one of the bridge's, if it has any."""
    recorded = IPv4Address(nic.bridge_address)
    own = [address.ip for address in read(nic).addresses]
    return min(own, key=lambda ip: (ip != recorded, ip.is_link_local), default=recorded)
