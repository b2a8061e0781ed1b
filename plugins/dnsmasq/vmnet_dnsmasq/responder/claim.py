"""The bridge's own address, given up as soon as somebody else claims it (RFC 5227 section 2.4).

It was free when the VM started, but the engine does not know that it is taken. Whoever has it from
the engine must have it alone. The bridge keeps its link-local address, with which DHCP goes on, and
names too for a guest that was told that one.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from . import frame, link, privileges
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.helper import Own

_SIOCSIFADDR = 0x8916  # netdevice(7)
_IFREQ = struct.Struct("16sH2x4s8x")  # a name, and a struct sockaddr_in


class Claim:
    """The address of one bridge."""

    def __init__(self, own: Own, log: Log) -> None:
        self._own, self._log = own, log
        address = socket.inet_aton(own.address)
        self._bridge = link.bridge(own.bridge, address, frame.mac(own.mac))
        self.links = (self._bridge, link.presence(own.tap))
        self._is_ours = True

    def serve(self) -> None:
        """Give way to whoever is heard."""
        heard = self._bridge.receive()
        if heard and self._is_ours:
            self._is_ours = False
            self._give_up(heard[22:28].hex(":"))

    def refresh(self) -> None:
        """Nothing is said unasked."""

    def _give_up(self, claimant: str) -> None:
        own = self._own
        privileges.regain()
        _delete_first_address(own.bridge)
        privileges.shed(for_good=True)
        names = ", and with it the forwarding of names there" if own.forwards else ""
        self._log.warn(
            f"{claimant} claims {own.address}, which was free when {own.bridge} took it: "
            f"given up{names}",
            "restart the container, and keep the engine from the top of the subnet "
            "(`docker network create --ip-range`) or set VMNET_BRIDGE_ADDRESS",
        )


def _delete_first_address(device: str) -> None:
    """By setting none in its place, which leaves the further ones."""
    none = _IFREQ.pack(device.encode(), socket.AF_INET, bytes(4))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, none)
