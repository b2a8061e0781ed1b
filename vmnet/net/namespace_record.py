"""Keep a record in the network namespace itself, which can outlive the container's files.

The record is a table of nftables that filters nothing. Its only chain has no hook, and its rules
consist of a comment each: the record's parts, in hexadecimal. `nft list table ip vmnet-state`
prints them.

Why nftables: the kernel removes the table with the namespace, NET_ADMIN is needed to read or change
it, and no other program meets it. An alias (ip-link(8)) has at most 255 bytes. Alternative names
enlarge the messages that list the devices, and programs that read these page by page would fail.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from vmnet.net import dump, netlink
from vmnet.net.netlink import attribute

MOST_BYTES = 1 << 16
TABLE = "vmnet-state"
_CHAIN = "saved"
# Numbers of linux/netfilter/nfnetlink.h and nf_tables.h
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _GETRULE = (_SUBSYSTEM << 8 | n for n in (0, 2, 3, 6, 7))
_TABLE_NAME, _CHAIN_TABLE, _CHAIN_NAME = 1, 1, 3
_RULE_TABLE, _RULE_CHAIN, _RULE_USERDATA = 1, 2, 7
_NETLINK_NETFILTER = 12
_EXCLUSIVE, _CREATE, _APPEND = 0x200, 0x400, 0x800
_COMMENT = 0  # NFTNL_UDATA_RULE_COMMENT of libnftnl, so that nft(8) prints it
_PART = 126  # bytes: with type, length and final zero, 255 bytes of user data; the limit is 256
_MOST_PARTS = -(-MOST_BYTES // _PART)
_BUFFER, _SECONDS = 1 << 16, 10.0


def save(data: bytes) -> None:
    """Write the record, in place of an earlier record: all of it, or nothing.

    :raises OSError: the data is too long, or the kernel has no nftables or refuses
    """
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"{len(data)} bytes, but at most {MOST_BYTES} fit")
    creation = [*_creation(data)]
    try:
        _commit(creation)
    except FileExistsError:
        # Only then, because the kernel takes some 10 ms for a removal, and 0.3 ms for the rest.
        _commit([_REMOVAL, *creation])


def load() -> bytes | None:
    """Return the record; None if there is none.

    :raises OSError: the kernel has no nftables or refuses
    """
    request = _family() + _text(_RULE_TABLE, TABLE) + _text(_RULE_CHAIN, _CHAIN)
    parts: list[str] = []
    for body in dump.bodies(_GETRULE, request, _NETLINK_NETFILTER):
        # Bounded, because another program can have made the table.
        if len(parts) < _MOST_PARTS and (part := _part(body)) is not None:
            parts.append(part)
    try:
        return bytes.fromhex("".join(parts)) if parts else None
    except ValueError:
        return b""  # no record of ours: the reader finds that it is not valid


def remove() -> None:
    """Remove the record, if there is one.

    :raises OSError: the kernel has no nftables or refuses
    """
    with suppress(FileNotFoundError):
        _commit([_REMOVAL])


def _creation(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    yield _NEWTABLE, _CREATE | _EXCLUSIVE, _text(_TABLE_NAME, TABLE)
    yield _NEWCHAIN, _CREATE, _text(_CHAIN_TABLE, TABLE) + _text(_CHAIN_NAME, _CHAIN)
    place = _text(_RULE_TABLE, TABLE) + _text(_RULE_CHAIN, _CHAIN)
    for start in range(0, len(data), _PART):
        comment = data[start : start + _PART].hex().encode() + b"\0"
        marked = bytes((_COMMENT, len(comment))) + comment
        yield _NEWRULE, _CREATE | _APPEND, place + attribute(_RULE_USERDATA, marked)


def _part(body: bytes) -> str | None:
    """Return the comment of a rule; None if it has none or is of another table or chain."""
    found = dict(netlink.attributes(body[len(_family()) :]))
    names = found.get(_RULE_TABLE), found.get(_RULE_CHAIN)
    marked = found.get(_RULE_USERDATA, b"")
    if names != (TABLE.encode() + b"\0", _CHAIN.encode() + b"\0") or marked[:1] != b"\0":
        return None
    return (
        marked[2 : 2 + int.from_bytes(marked[1:2], "big")].rstrip(b"\0").decode("ascii", "replace")
    )


def _commit(requests: Sequence[tuple[int, int, bytes]]) -> None:
    """Send requests as a transaction, and await the kernel's answer to the last."""
    begin = netlink.message(_BATCH_BEGIN, 0, _family(0, _SUBSYSTEM), 0)
    end = netlink.message(_BATCH_END, 0, _family(0, _SUBSYSTEM), len(requests) + 1)
    messages = (
        netlink.message(
            kind, flags | (netlink.ACK if number == len(requests) else 0), _family() + body, number
        )
        for number, (kind, flags, body) in enumerate(requests, 1)
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.settimeout(_SECONDS)
        kernel.send(begin + b"".join(messages) + end)
        while True:
            for kind, _, number, body in netlink.messages(kernel.recv(_BUFFER)):
                if kind == netlink.ERROR:
                    netlink.raise_if_refused(body)
                    if number == len(requests):
                        return


def _family(family: int = socket.AF_INET, resource: int = 0) -> bytes:
    """Return struct nfgenmsg."""
    return struct.pack("!BBH", family, 0, resource)


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


_REMOVAL = (_DELTABLE, 0, _text(_TABLE_NAME, TABLE))
