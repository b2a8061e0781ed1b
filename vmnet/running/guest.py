"""Whether the guest answers for the addresses that it is to have."""

from __future__ import annotations

from ipaddress import ip_address

from vmnet.errors import PrivilegeError
from vmnet.lifecycle.launched import Nic
from vmnet.net import presence
from vmnet.noun import Noun, noun
from vmnet.running import bridges

_SECONDS = 1.0


@noun
class Presence(Noun):
    """One of the guest's NICs, as it was asked.

    :param silent: its addresses that nobody answered for
    :param unknown: why it could not be asked; empty where it was
    """

    nic: str
    answering: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def answers(self) -> bool:
        return bool(self.answering)


def ask(nic: Nic) -> Presence:
    """Ask a NIC: a millisecond if it answers for all its addresses, a second if not."""
    if not nic.addresses:
        return Presence(nic.name, unknown="its addresses are not known here")
    addresses = [ip_address(one) for one in nic.addresses]
    try:
        found = presence.answering(
            nic.tap,
            bytes.fromhex(nic.bridge_mac.replace(":", "")),
            bridges.asker(nic),
            addresses,
            _SECONDS,
        )
    except PrivilegeError as error:
        return Presence(nic.name, unknown=f"{error.message}; {error.hint}")
    except OSError as error:
        return Presence(nic.name, unknown=f"{nic.tap}: {error.strerror}")
    return Presence(
        nic.name,
        answering=tuple(str(one) for one in addresses if one in found),
        silent=tuple(str(one) for one in addresses if one not in found),
    )
