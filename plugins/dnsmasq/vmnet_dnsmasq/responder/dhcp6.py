"""A DHCPv6 server that has one client (RFC 8415). Pure functions.

It keeps no leases: the addresses are the guest's for ever, whatever it asks, and nobody else's.
"""

from __future__ import annotations

import struct

from . import frame, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet_dnsmasq.ipv6 import Nic

CLIENT_PORT, SERVER_PORT = 546, 547
_FOR_EVER, _OVER = b"\xff" * 8, bytes(8)  # an address's two lifetimes, an association's two times
_UPDATES, _OVERRIDDEN, _NO_UPDATES = 1, 2, 4  # RFC 4704 section 4.1: S, O and N
# A client has one association, and an old address or two: more than these go unanswered.
_MOST = 4


class Server:
    """The server of one NIC."""

    def __init__(self, nic: Nic) -> None:
        self._mac = frame.mac(nic.server)
        self._address = frame.link_local(self._mac)
        self._id = struct.pack("!HH", 3, 1) + self._mac  # DUID-LL on Ethernet, section 11.4
        self._own = [frame.address(one) for one in nic.addresses]
        self._offers = list(_offers(nic))
        # Only a fully qualified name has an end (RFC 4704 section 4.2).
        self._name = frame.name(nic.name) + (b"\0" if "." in nic.name else b"")

    def answer(self, packet: frame.Packet) -> list[bytes]:
        """A frame that answers a packet; none if it is not for a DHCPv6 server, or malformed."""
        if packet.next_header != frame.UDP or len(packet.payload) < 8:
            return []
        _, port, length = struct.unpack_from("!HHH", packet.payload)
        if port != SERVER_PORT or not 8 <= length <= len(packet.payload):
            return []
        reply = self.reply(packet.payload[8:length])
        macs, ports = packet.mac + self._mac, (SERVER_PORT, CLIENT_PORT)
        return [frame.udp(macs, self._address, packet.source, ports, reply)] if reply else []

    def reply(self, data: bytes) -> bytes:
        """What to answer a message; empty where it is to be discarded."""
        try:
            message = wire.Message(data, self._id)
        except ValueError:
            return b""
        content = self._content(message)
        if not content:
            return b""
        kind = wire.REPLY
        if message.kind == wire.SOLICIT:
            if message.get(wire.RAPID_COMMIT) is not None:
                content += wire.option(wire.RAPID_COMMIT)
            else:
                kind = wire.ADVERTISE
                content += wire.option(wire.PREFERENCE, b"\xff")  # wait for no other server
        identities = wire.option(wire.SERVER_ID, self._id)
        if message.client is not None:
            identities += wire.option(wire.CLIENT_ID, message.client)
        return bytes((kind,)) + message.transaction + identities + content

    def _content(self, message: wire.Message) -> bytes:
        if message.kind in (wire.RELEASE, wire.DECLINE):  # there is no other address to go to
            return wire.status(wire.SUCCESS)
        if message.kind == wire.CONFIRM:
            return self._confirm([one for ia in message.associations for one in ia.addresses])
        if message.kind == wire.INFORMATION_REQUEST:
            return self._information(message) or wire.status(wire.SUCCESS)
        return self._associations(message) + self._information(message)

    def _confirm(self, addresses: list[bytes]) -> bytes:
        """Section 18.3.3, where any address of the link's prefix would be confirmed.

        Here another one is no good, so that a disk which has moved to another container asks anew.
        """
        if not addresses:
            return b""
        known = all(one in self._own for one in addresses)
        return wire.status(wire.SUCCESS if known else wire.NOT_ON_LINK)

    def _associations(self, message: wire.Message) -> bytes:
        """The addresses go to the first association that can have them (section 18.3.2)."""
        answers, taken = b"", False
        for one in message.associations[:_MOST]:
            if one.code == wire.IA_NA and not taken:
                answers += self._addresses(one, renews=message.kind in (wire.RENEW, wire.REBIND))
                taken = True
            else:
                answers += _refusal(one)
        return answers

    def _addresses(self, association: wire.Association, *, renews: bool) -> bytes:
        """All of ours, and the end of any other that the client has (section 18.3.4)."""
        given = [one + _FOR_EVER for one in self._own]
        if renews:
            foreign = [one for one in association.addresses if one not in self._own]
            given += [one + _OVER for one in foreign[:_MOST]]
        inner = b"".join(wire.option(wire.IA_ADDRESS, one) for one in given)
        return wire.option(wire.IA_NA, association.identifier + _FOR_EVER + inner)

    def _information(self, message: wire.Message) -> bytes:
        """What the client asks for; all there is, to one that does not say."""
        offers = [*self._offers, *self._names(message)]
        asked = message.requested
        return b"".join(one for code, one in offers if asked is None or code in asked)

    def _names(self, message: wire.Message) -> Iterator[tuple[int, bytes]]:
        """The guest's name, which nobody is to put into the DNS."""
        wish = (message.get(wire.FQDN) or b"\0")[0] & _UPDATES
        flags = _NO_UPDATES | (_OVERRIDDEN if wish else 0)
        if self._name:
            yield wire.FQDN, wire.option(wire.FQDN, bytes((flags,)) + self._name)


def _refusal(association: wire.Association) -> bytes:
    times = b"" if association.code == wire.IA_TA else _OVER
    reason = wire.NO_PREFIXES if association.code == wire.IA_PD else wire.NO_ADDRESSES
    return wire.option(association.code, association.identifier + times + wire.status(reason))


def _offers(nic: Nic) -> Iterator[tuple[int, bytes]]:
    """Options that a client can ask for, each with its code."""
    if nic.nameservers:  # RFC 3646
        servers = b"".join(map(frame.address, nic.nameservers))
        yield wire.DNS_SERVERS, wire.option(wire.DNS_SERVERS, servers)
    if nic.search:
        domains = b"".join(frame.name(one) + b"\0" for one in nic.search)
        yield wire.DOMAIN_SEARCH, wire.option(wire.DOMAIN_SEARCH, domains)
    for one in nic.ntp:  # RFC 5908
        yield wire.NTP, wire.option(wire.NTP, wire.option(1, frame.address(one)))
