"""DHCPv6 messages as bytes (RFC 8415 sections 8, 16 and 21), read strictly. Pure functions."""

from __future__ import annotations

import struct

SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE = range(1, 10)
INFORMATION_REQUEST = 11
CLIENT_ID, SERVER_ID, IA_NA, IA_TA, IA_ADDRESS, OPTION_REQUEST, PREFERENCE = range(1, 8)
STATUS, RAPID_COMMIT, DNS_SERVERS, DOMAIN_SEARCH, IA_PD, FQDN, NTP = 13, 14, 23, 24, 25, 39, 56
SUCCESS, NO_ADDRESSES, NOT_ON_LINK, NO_PREFIXES = 0, 2, 4, 6
# Section 16: messages that must name a server, and those that must name none.
_TO_ONE, _TO_ALL = (REQUEST, RENEW, RELEASE, DECLINE), (SOLICIT, CONFIRM, REBIND)
_DUID_LENGTHS = range(3, 131)  # section 11.1
# The bytes of an association before its options.
_HEADS = {IA_NA: 12, IA_TA: 4, IA_PD: 12}


class Association:
    """What a client keeps addresses in.

    :param code: IA_NA, IA_TA or IA_PD
    :param identifier: the client's own name for it
    :param addresses: those that the client has or wishes for
    """

    __slots__ = ("addresses", "code", "identifier")

    def __init__(self, code: int, content: bytes) -> None:
        head = _HEADS[code]
        inner = read_options(content[head:])
        self.code, self.identifier = code, content[:4]
        self.addresses = [one[:16] for kind, one in inner if kind == IA_ADDRESS]
        if len(content) < head or any(len(one) < 16 for one in self.addresses):
            raise ValueError("an association is cut short")


class Message:
    """A message from a client to this server, or to all servers.

    :param requested: option codes the client asks for; None if it does not say
    :raises ValueError: section 16 says to discard it
    """

    __slots__ = ("_options", "associations", "client", "kind", "requested", "transaction")

    def __init__(self, data: bytes, server: bytes) -> None:
        if len(data) < 4:
            raise ValueError("a message is cut short")
        self.kind, self.transaction = data[0], data[1:4]
        options = read_options(data[4:])
        self._options = dict(reversed(options))  # of several, the first
        self.client = self.get(CLIENT_ID)
        self.associations = [Association(*one) for one in options if one[0] in _HEADS]
        self.requested = _codes(self.get(OPTION_REQUEST))
        if not self._is_valid(server):
            raise ValueError("not a message for this server")

    def get(self, code: int) -> bytes | None:
        """An option's content; None if it is not there."""
        return self._options.get(code)

    def _is_valid(self, server: bytes) -> bool:
        named = self.get(SERVER_ID)
        if self.kind == INFORMATION_REQUEST:
            known = self.client is None or len(self.client) in _DUID_LENGTHS
            return known and named in (None, server) and not self.associations
        if self.client is None or len(self.client) not in _DUID_LENGTHS:
            return False
        return (self.kind in _TO_ALL and named is None) or (
            self.kind in _TO_ONE and named == server
        )


def read_options(data: bytes) -> list[tuple[int, bytes]]:
    """Code and content of each option.

    :raises ValueError: the last one is cut short
    """
    options = []
    start = 0
    while start < len(data):
        code, length = struct.unpack("!HH", data[start : start + 4].ljust(4, b"\xff"))
        content = data[start + 4 : start + 4 + length]
        if len(content) != length:
            raise ValueError("an option is cut short")
        options.append((code, content))
        start += 4 + length
    return options


def option(code: int, content: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(content)) + content


def status(code: int) -> bytes:
    """A status without a message for people."""
    return option(STATUS, struct.pack("!H", code))


def _codes(content: bytes | None) -> tuple[int, ...] | None:
    if content is None:
        return None
    if len(content) % 2:
        raise ValueError("an option request is cut short")
    return struct.unpack(f"!{len(content) // 2}H", content)
