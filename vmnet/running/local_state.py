"""The addresses of the container's own ends (bridges), which may have changed since the start."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from vmnet.lifecycle.vm_record import GuestNic
from vmnet.model.base import frozen
from vmnet.net import ipv4, unix


@frozen
class LocalState:
    """The current state of the container's own end of a guest's link.

    :param device: the bridge, or a tap without a bridge; empty if there is no own end
    :param addresses: the device's addresses
    :param trouble: the address or connection that is missing, and the consequence; empty if none is
    :param is_deaf: whether it should forward the guest's DNS or frames, but cannot
    """

    device: str
    addresses: tuple[IPv4Interface, ...] = ()
    trouble: str = ""
    is_deaf: bool = False


def read(nic: GuestNic) -> LocalState:
    """Read the state of a NIC's own end from the kernel."""
    device = nic.local_device
    if not device:
        return _state_of_stream(nic.stream)
    try:
        addresses = ipv4.addresses(device)
    except OSError as error:
        why = f"{device}: {error.strerror or error}"
        return LocalState(device, trouble=why, is_deaf=bool(nic.nameservers))
    own = [str(address.ip) for address in addresses]
    if nic.local_address in own:
        return LocalState(device, addresses, _lack(nic, addresses))
    lost = f"{device} has lost {nic.local_address}"
    if nic.nameservers and not set(own) & set(nic.nameservers):
        why = f"{lost}, and does not forward the guest's DNS: restart the container"
        return LocalState(device, addresses, why, is_deaf=True)
    return LocalState(device, addresses, f"{lost}{_consequence(nic, addresses)}")


def _lack(nic: GuestNic, addresses: tuple[IPv4Interface, ...]) -> str:
    """Return the lack of an address that the device should have taken after the start."""
    if not nic.takes_spare or any(not address.ip.is_link_local for address in addresses):
        return ""
    lack = f"{nic.local_device} has no spare address"
    if not nic.nameservers:
        return lack
    return f"{lack}: until it has one, names outside the network don't resolve"


def _state_of_stream(path: str) -> LocalState:
    """Return the state of a NIC without an own end in the container."""
    if path and unix.is_connected(Path(path)) is False:
        why = f"QEMU is not connected to {path}, so the guest has no network"
        return LocalState("", trouble=f"{why}: if this lasts, restart the container", is_deaf=True)
    return LocalState("")


def _consequence(nic: GuestNic, addresses: tuple[IPv4Interface, ...]) -> str:
    routable = [str(address.ip) for address in addresses if not address.ip.is_link_local]
    if routable:
        return f", and has {' '.join(routable)} instead"
    if nic.nameservers:
        return ": until it has another address, names outside the network don't resolve"
    return ""


def source(nic: GuestNic) -> IPv4Address:
    """Return the source address of queries to the guest: one of the device's, if it has any."""
    recorded = IPv4Address(nic.local_address)
    own = [address.ip for address in read(nic).addresses]
    return min(own, key=lambda ip: (ip != recorded, ip.is_link_local), default=recorded)
