"""A DHCPv6 server for one client (RFC 8415). Pure functions.

It records no leases: the guest always gets the same addresses, without expiry.
"""

from __future__ import annotations

import struct

from vmnet.net import packets

from . import frame, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet_dnsmasq.ipv6 import Ipv6Nic

# The two lifetimes of an address, or the times T1 and T2 of an association.
_FOR_EVER, _EXPIRED = b"\xff" * 8, bytes(8)
_UPDATES, _OVERRIDDEN, _NO_UPDATES = 1, 2, 4  # RFC 4704 section 4.1: S, O and N
# A client has an association, and an old address or two. Further ones get no answer.
_MOST = 4


class Server:
    """The server of one NIC."""

    def __init__(self, nic: Ipv6Nic) -> None:
        self._mac = packets.mac_bytes(nic.server)
        self._address = packets.link_local(self._mac)
        self._id = struct.pack("!HH", 3, 1) + self._mac  # DUID-LL on Ethernet, section 11.4
        self._own = [frame.address(address) for address in nic.addresses]
        self._offers = list(_offers(nic))
        # Only a fully qualified name ends with a zero byte (RFC 4704 section 4.2).
        self._name = frame.name(nic.name) + (b"\0" if "." in nic.name else b"")

    def answer(self, packet: frame.Packet) -> list[bytes]:
        """Return a frame that answers a packet; none if it is malformed or not for the server."""
        if packet.next_header != packets.UDP or len(packet.payload) < 8:
            return []
        _, port, length = struct.unpack_from("!HHH", packet.payload)
        if port != packets.DHCP6_SERVER_PORT or not 8 <= length <= len(packet.payload):
            return []
        reply = self.reply(packet.payload[8:length])
        macs, ports = packet.mac + self._mac, (packets.DHCP6_SERVER_PORT, packets.DHCP6_CLIENT_PORT)
        return [frame.udp(macs, self._address, packet.source, ports, reply)] if reply else []

    def reply(self, data: bytes) -> bytes:
        """Return the reply to a message; empty if the server must discard it."""
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
        if message.kind in (wire.RELEASE, wire.DECLINE):  # the guest keeps its address
            return wire.status(wire.SUCCESS)
        if message.kind == wire.CONFIRM:
            return self._confirm(
                [address for ia in message.associations for address in ia.addresses]
            )
        if message.kind == wire.INFORMATION_REQUEST:
            return self._information(message) or wire.status(wire.SUCCESS)
        return self._associations(message) + self._information(message)

    def _confirm(self, addresses: list[bytes]) -> bytes:
        """Confirm only the guest's own addresses.

        Section 18.3.3 confirms any address of the link's prefix. But a disk that has moved to
        another container must ask again.
        """
        if not addresses:
            return b""
        known = all(address in self._own for address in addresses)
        return wire.status(wire.SUCCESS if known else wire.NOT_ON_LINK)

    def _associations(self, message: wire.Message) -> bytes:
        """Assign the addresses to the first IA_NA; refuse the others (section 18.3.2)."""
        answers, taken = b"", False
        renews = message.kind in (wire.RENEW, wire.REBIND)
        for association in message.associations[:_MOST]:
            if association.code == wire.IA_NA and not taken:
                answers += self._addresses(association, renews=renews)
                taken = True
            else:
                answers += _refusal(association)
        return answers

    def _addresses(self, association: wire.Association, *, renews: bool) -> bytes:
        """Assign the guest's addresses, and expire any others that it renews (section 18.3.4)."""
        contents = [address + _FOR_EVER for address in self._own]
        if renews:
            foreign = [address for address in association.addresses if address not in self._own]
            contents += [address + _EXPIRED for address in foreign[:_MOST]]
        inner = b"".join(wire.option(wire.IA_ADDRESS, content) for content in contents)
        return wire.option(wire.IA_NA, association.identifier + _FOR_EVER + inner)

    def _information(self, message: wire.Message) -> bytes:
        """Return the options that the client requests; all options if it requests none by code."""
        offers = [*self._offers, *self._names(message)]
        asked = message.requested
        return b"".join(option for code, option in offers if asked is None or code in asked)

    def _names(self, message: wire.Message) -> Iterator[tuple[int, bytes]]:
        """Yield the guest's name, and forbid DNS updates with it."""
        wants_update = (message.get(wire.FQDN) or b"\0")[0] & _UPDATES
        flags = _NO_UPDATES | (_OVERRIDDEN if wants_update else 0)
        if self._name:
            yield wire.FQDN, wire.option(wire.FQDN, bytes((flags,)) + self._name)


def _refusal(association: wire.Association) -> bytes:
    times = b"" if association.code == wire.IA_TA else _EXPIRED
    reason = wire.NO_PREFIXES if association.code == wire.IA_PD else wire.NO_ADDRESSES
    return wire.option(association.code, association.identifier + times + wire.status(reason))


def _offers(nic: Ipv6Nic) -> Iterator[tuple[int, bytes]]:
    """Yield the options that a client can request, with their codes."""
    if nic.nameservers:  # RFC 3646
        servers = b"".join(map(frame.address, nic.nameservers))
        yield wire.DNS_SERVERS, wire.option(wire.DNS_SERVERS, servers)
    if nic.search:
        domains = b"".join(frame.name(domain) + b"\0" for domain in nic.search)
        yield wire.DOMAIN_SEARCH, wire.option(wire.DOMAIN_SEARCH, domains)
    for address in nic.ntp:  # RFC 5908
        yield wire.NTP, wire.option(wire.NTP, wire.option(1, frame.address(address)))
