"""The bridge's own address: defended once, then given up and replaced (RFC 5227 section 2.4).

It was free when the VM started, but the engine does not know that it is taken, and a machine that
has it from the engine must have it alone. Yet one forged claim must not cost the VM its address. So
the bridge asks whether somebody answers for it. If nobody does, it announces the address anew; if
somebody does, or claims it again soon, it gives the address up and looks for another one. The
bridge keeps its link-local address, with which DHCP and names go on.
"""

from __future__ import annotations

import socket
import time

from . import address, frame, link, privileges
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.helper import Own

_PROBES, _INTERVAL = 3, 0.2  # seconds; see vmnet.net.arp
_DEFEND_SECONDS = 10.0  # RFC 5227 section 1.1, DEFEND_INTERVAL
# Between losing an address and looking for the next one: no neighbour sets the pace of our log.
_AT_ONCE, _FIRST_PAUSE, _LONGEST_PAUSE = 0.0, 60.0, 3600.0
_NEVER = float("inf")
_HINT = (
    "keep the engine from the top of the subnet (`docker network create --ip-range`) or set "
    "VMNET_BRIDGE_ADDRESS"
)


class Claim:
    """The address of one bridge.

    :ivar due: when :meth:`wake` is to be called, by the clock of ``time.monotonic``
    """

    def __init__(self, own: Own, log: Log) -> None:
        self._own, self._log = own, log
        self._mac = frame.mac(own.mac)
        self._addresses = [socket.inet_aton(one) for one in own.addresses]
        # The first one, unless we are the successor of a responder that has given it up.
        at = next((at for at, one in enumerate(self._addresses) if address.is_here(one)), None)
        self._holds, self._at = at is not None, at or 0
        program = link.claims(self._address, self._mac, probes=not self._holds)
        self._bridge = link.bridge(own.bridge, program)
        self.links = (self._bridge, link.presence(own.tap))
        self.due = _NEVER if self._holds else time.monotonic() + _FIRST_PAUSE
        self._probes, self._tried = 0, 1
        self._contested = self._taken = -_NEVER
        self._pause = _AT_ONCE

    @property
    def _address(self) -> bytes:
        return self._addresses[self._at]

    def serve(self) -> None:
        """Hear a claim."""
        heard = self._bridge.receive()
        if not heard:
            return
        now = time.monotonic()
        if not self._holds:
            if self._probes:  # a late one is of an address that was sought before
                self._seek_next(now)
        elif now - self._contested < _DEFEND_SECONDS:
            self._give_up(heard[22:28].hex(":"), now)
        else:
            self._contested = now
            self._ask(now)

    def wake(self) -> None:
        """Go on with what was begun: the next probe, or what their silence means."""
        now = time.monotonic()
        if self._probes < _PROBES:
            self._ask(now)
            return
        self._probes, self.due = 0, _NEVER
        if not self._holds:
            self._take(now)
        self._announce()

    def _ask(self, now: float) -> None:
        """Probe for the address: whether anybody else has it."""
        self._bridge.send(frame.arp(self._mac, bytes(4), self._address))
        self._probes += 1
        self.due = now + _INTERVAL

    def _announce(self) -> None:
        if self._holds:
            self._bridge.send(frame.arp(self._mac, self._address, self._address))

    def _give_up(self, claimant: str, now: float) -> None:
        self._holds = False
        privileges.regain()
        address.remove(self._own, self._address)
        privileges.put_aside()
        if now - self._taken > _LONGEST_PAUSE:
            self._pause = _AT_ONCE
        claimed = f"{claimant} claims {_text(self._address)}"
        before = f"which was free when {self._own.bridge} took it"
        self._log.warn(f"{claimed}, {before}: given up{self._consequence()}", _HINT)
        self._tried = 0
        self._seek_next(now + self._pause)

    def _consequence(self) -> str:
        if not self._own.forwards:
            return ""
        return ", and until it has another one the guest resolves no names outside the network"

    def _seek_next(self, when: float) -> None:
        """Probe for the next address, or for the first one again when all have been tried."""
        self._at = (self._at + 1) % len(self._addresses)
        self._bridge.hear(link.claims(self._address, self._mac, probes=True))
        self._probes, self._tried = 0, self._tried + 1
        if self._tried > len(self._addresses):
            self._tried = 1
            self._lengthen_pause()
            when += self._pause
        self.due = when

    def _take(self, now: float) -> None:
        privileges.regain()
        trouble = address.add(self._own, self._address)
        privileges.put_aside()
        if trouble:
            self._log.warn(
                f"{self._own.bridge} can't take {_text(self._address)}: {trouble}", _HINT
            )
            self._seek_next(now)
            return
        self._holds, self._taken = True, now
        self._lengthen_pause()
        self._bridge.hear(link.claims(self._address, self._mac))
        self._log.inform(f"{self._own.bridge} has the address {_text(self._address)} now")

    def _lengthen_pause(self) -> None:
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)


def _text(packed: bytes) -> str:
    return socket.inet_ntoa(packed)
