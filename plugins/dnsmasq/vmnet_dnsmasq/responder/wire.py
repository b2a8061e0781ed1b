"""Parse and make DHCPv6 messages (RFC 8415 sections 8, 16 and 21), strictly. Pure functions."""

from __future__ import annotations

import struct

SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE = range(1, 10)
INFORMATION_REQUEST = 11
CLIENT_ID, SERVER_ID, IA_NA, IA_TA, IA_ADDRESS, OPTION_REQUEST, PREFERENCE = range(1, 8)
STATUS, RAPID_COMMIT, DNS_SERVERS, DOMAIN_SEARCH, IA_PD, FQDN, NTP = 13, 14, 23, 24, 25, 39, 56
SUCCESS, NO_ADDRESSES, NOT_ON_LINK, NO_PREFIXES = 0, 2, 4, 6
# Section 16: messages that must name a server, and messages that must not.
_TO_SERVER, _TO_ALL = (REQUEST, RENEW, RELEASE, DECLINE), (SOLICIT, CONFIRM, REBIND)
_DUID_LENGTHS = range(3, 131)  # section 11.1
# The bytes of an association before its options.
_HEADS = {IA_NA: 12, IA_TA: 4, IA_PD: 12}


class Association:
    """An identity association: a client's collection of addresses.

    :param code: IA_NA, IA_TA or IA_PD
    :param identifier: its number (IAID), chosen by the client
    :param addresses: the addresses that the client has or requests
    """

    __slots__ = ("addresses", "code", "identifier")

    def __init__(self, code: int, content: bytes) -> None:
        head = _HEADS[code]
        inner = read_options(content[head:])
        self.code, self.identifier = code, content[:4]
        self.addresses = [address[:16] for kind, address in inner if kind == IA_ADDRESS]
        if len(content) < head or any(len(address) < 16 for address in self.addresses):
            raise ValueError("truncated association")


class Message:
    """A message from a client to this server, or to all servers.

    :param requested: option codes that the client requests; None without an option request
    :raises ValueError: a server must discard the message (section 16)
    """

    __slots__ = ("_options", "associations", "client", "kind", "requested", "transaction")

    def __init__(self, data: bytes, server: bytes) -> None:
        if len(data) < 4:
            raise ValueError("truncated message")
        self.kind, self.transaction = data[0], data[1:4]
        options = read_options(data[4:])
        self._options = dict(reversed(options))  # keeps the first of several
        self.client = self.get(CLIENT_ID)
        self.associations = [
            Association(code, content) for code, content in options if code in _HEADS
        ]
        self.requested = _codes(self.get(OPTION_REQUEST))
        if not self._is_valid(server):
            raise ValueError("not a message for this server")

    def get(self, code: int) -> bytes | None:
        """Return the content of an option; None if the message does not contain it."""
        return self._options.get(code)

    def _is_valid(self, server: bytes) -> bool:
        named = self.get(SERVER_ID)
        if self.kind == INFORMATION_REQUEST:
            known = self.client is None or len(self.client) in _DUID_LENGTHS
            return known and named in (None, server) and not self.associations
        if self.client is None or len(self.client) not in _DUID_LENGTHS:
            return False
        return (self.kind in _TO_ALL and named is None) or (
            self.kind in _TO_SERVER and named == server
        )


def read_options(data: bytes) -> list[tuple[int, bytes]]:
    """Return code and content of each option.

    :raises ValueError: the last option is truncated
    """
    options = []
    start = 0
    while start < len(data):
        code, length = struct.unpack("!HH", data[start : start + 4].ljust(4, b"\xff"))
        content = data[start + 4 : start + 4 + length]
        if len(content) != length:
            raise ValueError("truncated option")
        options.append((code, content))
        start += 4 + length
    return options


def option(code: int, content: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(content)) + content


def status(code: int) -> bytes:
    """Return a status option without a text."""
    return option(STATUS, struct.pack("!H", code))


def _codes(content: bytes | None) -> tuple[int, ...] | None:
    if content is None:
        return None
    if len(content) % 2:
        raise ValueError("truncated option request")
    return struct.unpack(f"!{len(content) // 2}H", content)
