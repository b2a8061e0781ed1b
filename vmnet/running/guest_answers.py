"""Query whether the guest answers for its addresses."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from vmnet.errors import PrivilegeError
from vmnet.lifecycle.vm_record import GuestNic
from vmnet.model.base import frozen
from vmnet.net import liveness, packets
from vmnet.running import local_state

_DEVICES = Path("/proc/self/net/dev")
_SECONDS = 1.0  # for `vmnet status`; a guest that answers does so within milliseconds


@frozen
class GuestAnswers:
    """The result of querying one of the guest's NICs.

    :param silent: the addresses for which the guest did not answer
    :param unknown: why vmnet could not query the NIC; empty if it could
    :param mute: whether the guest has not sent a frame yet
    """

    nic: str
    answering: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    unknown: str = ""
    mute: bool = False

    @property
    def has_answered(self) -> bool:
        return bool(self.answering)


def ask(nic: GuestNic, seconds: float = _SECONDS) -> GuestAnswers:
    """Query a NIC.

    This takes a millisecond if it answers for all its addresses, otherwise ``seconds``.
    """
    if not nic.addresses:
        unknown = "vmnet does not know its addresses"
        return GuestAnswers(nic.name, unknown=unknown, mute=_is_mute(nic.tap))
    if not nic.local_device:
        return GuestAnswers(nic.name, unknown="the container has no end of its own on the link")
    addresses = [ip_address(address) for address in nic.addresses]
    try:
        found = liveness.answering(
            nic.tap,
            packets.mac_bytes(nic.local_mac),
            local_state.source(nic),
            addresses,
            seconds,
        )
    except PrivilegeError as error:
        return GuestAnswers(nic.name, unknown=f"{error.message}; {error.hint}")
    except OSError as error:
        return GuestAnswers(nic.name, unknown=f"{nic.tap}: {error.strerror}")
    return GuestAnswers(
        nic.name,
        answering=tuple(str(address) for address in addresses if address in found),
        silent=tuple(str(address) for address in addresses if address not in found),
        mute=not found and _is_mute(nic.tap),
    )


def _is_mute(tap: str) -> bool:
    """Return whether a tap has received no frame (proc_net_dev(5))."""
    for line in _DEVICES.read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == tap:
            return int(counters.split()[1]) == 0
    return False
