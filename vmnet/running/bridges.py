"""The bridges' own addresses as the kernel has them, which may have changed since the start."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

from vmnet.lifecycle.launched import Nic
from vmnet.net import ifaddr
from vmnet.noun import Noun, noun


@noun
class Bridge(Noun):
    """A bridge as it is now.

    :param addresses: its own
    :param trouble: what it had at the start and has no more, and what follows; empty if it has all
    :param is_deaf: whether the guest's names should be forwarded there, and are not
    """

    name: str
    addresses: tuple[IPv4Interface, ...] = ()
    trouble: str = ""
    is_deaf: bool = False


def look(nic: Nic) -> Bridge:
    """Ask the kernel for the bridge of a NIC."""
    try:
        addresses = ifaddr.of(nic.bridge)
    except OSError as error:
        why = f"{nic.bridge}: {error.strerror or error}"
        return Bridge(nic.bridge, trouble=why, is_deaf=bool(nic.nameservers))
    own = [str(one.ip) for one in addresses]
    if nic.asker in own:
        return Bridge(nic.bridge, addresses)
    lost = f"{nic.bridge} has {nic.asker} no more"
    if nic.nameservers and not set(own) & set(nic.nameservers):
        why = f"{lost}, and the guest's names are not forwarded: restart the container"
        return Bridge(nic.bridge, addresses, why, is_deaf=True)
    return Bridge(nic.bridge, addresses, f"{lost}{_instead(nic, addresses)}")


def _instead(nic: Nic, addresses: tuple[IPv4Interface, ...]) -> str:
    others = [str(one.ip) for one in addresses if not one.ip.is_link_local]
    if others:
        return f", but {' '.join(others)}"
    if nic.nameservers:
        return ": until it has another one, names outside the network don't resolve"
    return ""


def asker(nic: Nic) -> IPv4Address:
    """Whom a question to the guest may come from: an address that the bridge has, if it has any."""
    recorded = IPv4Address(nic.asker)
    own = [one.ip for one in look(nic).addresses]
    return min(own, key=lambda one: (one != recorded, one.is_link_local), default=recorded)
