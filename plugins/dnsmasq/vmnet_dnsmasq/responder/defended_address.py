"""The bridge's address: take a free one, defend it once, then replace it (RFC 5227 section 2).

The start leaves the search for a free address to this process, because it takes longer than the
rest of the start, and the guest needs names only seconds later.

The engine does not know about the address and may assign it to a machine, which then must have it
alone. A single forged claim must not take the address from the
bridge, so the bridge probes for it. If no machine answers, the bridge announces its address again.
If a machine answers, or claims the address again soon, the bridge gives it up and looks for another
address. The bridge keeps its link-local address, so DHCP and DNS continue.
"""

from __future__ import annotations

import os
import socket
import time

from vmnet.net import packets
from vmnet.supervision.log import Log

from . import link, privileges, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet_dnsmasq.responder_delivery import BridgeAddress

# In seconds. The first search is fast, because an answer takes well under a millisecond (see
# vmnet.net.arp). Two seconds later, the address is probed for again, in case a switch did not
# forward the first probes.
_PROBES, _FIRST_INTERVAL, _INTERVAL = 3, 0.05, 0.2
_LONGEST_WAIT = 2.0  # between looks at an uplink without carrier
_DEFEND_SECONDS = 10.0  # RFC 5227 section 1.1, DEFEND_INTERVAL
_ANNOUNCE_SECONDS = 2.0  # RFC 5227 section 1.1, ANNOUNCE_INTERVAL
# Seconds between losing an address and probing for the next, so that false claims do not flood the
# log.
_AT_ONCE, _FIRST_PAUSE, _LONGEST_PAUSE = 0.0, 60.0, 3600.0
_NEVER = float("inf")
_HINT = (
    "keep the engine from the top of the subnet (`docker network create --ip-range`) or set "
    "VMNET_BRIDGE_ADDRESS"
)


class DefendedAddress:
    """The address of one bridge, and claims to it.

    :ivar due: when to call :meth:`wake`, by the clock of ``time.monotonic``
    """

    def __init__(self, config: BridgeAddress, log: Log) -> None:
        self._config, self._log = config, log
        self._mac = packets.mac_bytes(config.mac)
        self._addresses = [socket.inet_aton(text) for text in config.addresses]
        # After a restart of this process, the bridge may have an address already.
        here = [place for place, packed in enumerate(self._addresses) if rtnetlink.is_here(packed)]
        self._holds, self._place = bool(here), here[0] if here else 0
        self._is_first = not here
        program = link.claims(self._address, self._mac, probes=not self._holds)
        self.link = self._bridge = link.bridge(config.bridge, program)
        # The kernel announces an address once, when the bridge goes up. The uplink may not forward
        # that: it does so only when the kernel's workqueue has seen its carrier.
        self._probes, self._tried = _PROBES if self._holds else 0, 1
        self._interval = self._wait = _FIRST_INTERVAL
        self._is_connected = self._holds
        self.due = time.monotonic() + (_ANNOUNCE_SECONDS if self._holds else 0)
        self._contested = self._taken = -_NEVER
        self._pause = _AT_ONCE

    @property
    def _address(self) -> bytes:
        return self._addresses[self._place]

    def serve(self) -> None:
        """Receive a claim."""
        received = self._bridge.receive()
        if not received:
            return
        now = time.monotonic()
        if not self._holds:
            if self._probes:  # otherwise the claim is for an address that was probed before
                self._seek_next(now)
        elif now - self._contested < _DEFEND_SECONDS:
            self._give_up(received[22:28].hex(":"), now)
        else:
            self._contested, self._probes = now, 0
            self._probe(now)

    def wake(self) -> None:
        """Send the next probe, or conclude that no machine has answered the probes."""
        now = time.monotonic()
        if not self._is_connected:
            self._await_carrier(now)
        elif self._probes < _PROBES:
            self._probe(now)
        else:
            self._probes, self.due = 0, _NEVER
            if not self._holds:
                self._take(now)
            self._announce()

    def _await_carrier(self, now: float) -> None:
        """Wait until probes leave the uplink: an unsent probe would make an address look free."""
        self._is_connected = rtnetlink.is_running(self._config.uplink)
        self.due = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)

    def _probe(self, now: float) -> None:
        """Probe whether another machine has the address."""
        self._bridge.send(_arp(self._mac, bytes(4), self._address))
        self._probes += 1
        self.due = now + self._interval

    def _announce(self) -> None:
        if self._holds:
            self._bridge.send(_arp(self._mac, self._address, self._address))

    def _give_up(self, claimant: str, now: float) -> None:
        self._holds = False
        privileges.regain()
        rtnetlink.remove(self._config, self._address)
        self._name_to_dnsmasq(self._config.stable)
        privileges.put_aside()
        if now - self._taken > _LONGEST_PAUSE:
            self._pause = _AT_ONCE
        bridge = self._config.bridge
        claim = f"{claimant} claims {_text(self._address)}, which was free when {bridge} took it"
        self._log.warning(
            f"{claim}: {bridge} gives it up{self._consequence()}",
            _HINT,
            event="bridge.address_lost",
        )
        self._tried = 0
        self._seek_next(now + self._pause)

    def _consequence(self) -> str:
        if not self._config.forwards:
            return ""
        return "; until it has another address, the guest resolves no names outside the network"

    def _seek_next(self, when: float) -> None:
        """Probe for the next address; after the last, pause and begin again with the first."""
        self._place = (self._place + 1) % len(self._addresses)
        self._bridge.hear(link.claims(self._address, self._mac, probes=True))
        self._probes, self._tried = 0, self._tried + 1
        if self._tried > len(self._addresses):
            if self._pause == _AT_ONCE:
                self._log.warning(
                    f"{self._config.bridge} finds no free address{self._consequence()}",
                    _HINT,
                    event="bridge.no_address",
                )
            self._tried = 1
            self._lengthen_pause()
            when += self._pause
        self.due = when

    def _take(self, now: float) -> None:
        privileges.regain()
        error = rtnetlink.add(self._config, self._address)
        if not error:
            self._name_to_dnsmasq(_text(self._address))
        privileges.put_aside()
        if error:
            self._log.warning(
                f"{self._config.bridge} cannot take {_text(self._address)}: {error}",
                _HINT,
                event="bridge.address_refused",
            )
            self._seek_next(now)
            return
        self._holds = True
        self._interval, self.due = _INTERVAL, now + _ANNOUNCE_SECONDS
        if self._is_first:
            self._is_first = False
        else:
            self._taken = now
            self._lengthen_pause()
        # A claim that arrived since the last probe waits, and counts as a conflict.
        self._bridge.select(link.claims(self._address, self._mac))
        self._log.info(
            f"{self._config.bridge} now has the address {_text(self._address)}",
            event="bridge.address_taken",
        )

    def _name_to_dnsmasq(self, nameserver: str) -> None:
        """Name the nameserver to dnsmasq, for later leases; see ``config.spare_option``."""
        if not (path := self._config.option_file):
            return
        line = f"tag:!classless,option:dns-server,{nameserver}\n"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
            os.write(file, line.encode())
            os.close(file)
        except OSError as error:
            self._log.error(f"can't write {path}: {error.strerror}", event="file.write_failed")

    def _lengthen_pause(self) -> None:
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)


def _arp(mac: bytes, sender: bytes, target: bytes) -> bytes:
    header = packets.ETHERNET.pack(packets.BROADCAST, mac, packets.ETH_P_ARP)
    return header + packets.arp_request(mac, sender, target)


def _text(packed: bytes) -> str:
    return socket.inet_ntoa(packed)
