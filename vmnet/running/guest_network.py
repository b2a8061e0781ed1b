"""Compare the addresses that the guest has, as its agent reports them, with the identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from vmnet.errors import GuestError
from vmnet.lifecycle.vm_record import GuestNic, VmRecord
from vmnet.model.base import frozen
from vmnet.running import agent
from vmnet.running.agent_values import Answer

_SECONDS = 2.0
_MAX_INTERFACES, _MAX_ADDRESSES = 1000, 1000


@frozen
class GuestAddresses:
    """The addresses of one of the guest's NICs, without link-local addresses.

    :param verdict: ``agree``, ``differ``, or ``unknown``
    :param missing: the identity's addresses that the guest does not have
    :param others: the guest's addresses that are not the identity's
    :param unknown: why the addresses are unknown or can't be compared
    """

    nic: str
    verdict: str
    addresses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unknown: str = ""


def compare(record: VmRecord) -> tuple[GuestAddresses, ...]:
    """Ask the agent, and compare the addresses of each NIC."""
    try:
        path = agent.require(record)
        with agent.session(path, _SECONDS) as session:
            answer = session.ask("guest-network-get-interfaces", seconds=_SECONDS)
        by_mac = addresses(answer)
    except GuestError as error:
        return tuple(
            GuestAddresses(nic.name, "unknown", unknown=error.message) for nic in record.nics
        )
    return tuple(judge(nic, by_mac.get(nic.mac)) for nic in record.nics)


def judge(nic: GuestNic, found: Sequence[str] | None) -> GuestAddresses:
    """Compare a NIC's addresses.

    :param found: the guest's; None if it has no NIC with this MAC
    """
    if found is None:
        why = f"the agent knows no NIC with the MAC {nic.mac}"
        return GuestAddresses(nic.name, "differ", missing=nic.addresses, unknown=why)
    have = tuple(found)
    if not nic.addresses:
        why = "vmnet does not know which addresses it should have"
        return GuestAddresses(nic.name, "unknown", have, unknown=why)
    missing = tuple(address for address in nic.addresses if address not in have)
    others = tuple(address for address in have if address not in nic.addresses)
    verdict = "differ" if missing or others else "agree"
    return GuestAddresses(nic.name, verdict, have, missing, others)


def addresses(answer: Answer) -> dict[str, tuple[str, ...]]:
    """Return the addresses by MAC from the agent's answer.

    Interfaces above a NIC, such as a VLAN, have its MAC, so one MAC may have several interfaces.

    :raises InvalidError: the answer is invalid
    """
    found: dict[str, tuple[str, ...]] = {}
    for interface in answer.items(_MAX_INTERFACES):
        if "hardware-address" not in interface:
            continue
        mac = interface["hardware-address"].text().lower()
        found[mac] = (*found.get(mac, ()), *map(str, _addresses(interface)))
    return found


def _addresses(interface: Answer) -> Iterator[IPv4Address | IPv6Address]:
    if "ip-addresses" not in interface:
        return
    for item in interface["ip-addresses"].items(_MAX_ADDRESSES):
        try:
            address = ip_address(item["ip-address"].text())
        except ValueError:
            raise item["ip-address"].invalid("is not an IP address") from None
        if not address.is_link_local:
            yield address
