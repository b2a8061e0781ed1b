"""A blocking rtnetlink socket for acknowledged requests and for dumps (rtnetlink(7)).

pyroute2's message classes encode and decode the messages. Its sockets would need asyncio.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from vmnet.net import codec, netlink

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_DUMP_INTR = 0x10

_CLASS = {
    RTM_NEWLINK: codec.ifinfmsg,
    RTM_NEWADDR: codec.ifaddrmsg,
    RTM_NEWROUTE: codec.rtmsg,
}
_DUMP_REQUEST = {
    RTM_NEWLINK: RTM_GETLINK,
    RTM_NEWADDR: RTM_GETADDR,
    RTM_NEWROUTE: RTM_GETROUTE,
    RTM_NEWNEIGH: RTM_GETNEIGH,
    RTM_NEWNEXTHOP: RTM_GETNEXTHOP,
}
# The longest fixed part of a message among all kinds, and the size of struct nhmsg, in bytes.
_MAX_FIXED_PART, _NHMSG_SIZE = 16, 8
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLM_F_ACK_TLVS, _NLMSGERR_ATTR_MSG = 0x200, 1
_RT_TABLE_LOCAL = 255
_BUFFER = 1 << 18
_REPLY_SECONDS = 10.0


class RtnlError(OSError):
    """The kernel refused a request; ``strerror`` contains the kernel's own message, if any."""


class Rtnl:
    """An rtnetlink socket in the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._sequence = itertools.count(1)
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.settimeout(_REPLY_SECONDS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def dump(self, kind: int, family: int = socket.AF_UNSPEC) -> list[bytes]:
        """Return all objects of a kind, each as the body of its message.

        :param kind: RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH or RTM_NEWNEXTHOP
        :raises RtnlError: the kernel refused the request, or the objects changed during each of
            five attempts
        """
        for _ in range(5):
            # The kernel parses bytes after struct nhmsg as attributes, and refuses padding.
            size = _NHMSG_SIZE if kind == RTM_NEWNEXTHOP else _MAX_FIXED_PART
            body = struct.pack("=B", family).ljust(size, b"\0")
            number = self._send(_DUMP_REQUEST[kind], netlink.DUMP, body)
            answers = list(self._answers(number))
            if not any(flags & NLM_F_DUMP_INTR for _, flags, _ in answers):
                return [body for _, _, body in answers]
        raise RtnlError(errno.EBUSY, "the network kept changing while vmnet read it")

    def link(self, index: int) -> Any:
        """Return a link as pyroute2's message.

        :raises RtnlError: the kernel refused the request, or the link does not exist
        """
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)  # struct ifinfomsg
        number = self._send(RTM_GETLINK, netlink.ACK, body)
        (found,) = (body for _, _, body in self._answers(number))
        return decode(RTM_NEWLINK, found)

    def request(self, kind: int, flags: int, fields: Mapping[str, Any]) -> None:
        """Request a change.

        :param fields: the fields of pyroute2's message class; attributes that are None are omitted
        :raises RtnlError: the kernel refused the request
        """
        message = _CLASS[kind & ~3]()  # NEW, DEL and GET of a kind have the same class
        message["attrs"] = [pair for pair in fields.get("attrs", ()) if pair[1] is not None]
        for name, value in fields.items():
            if name != "attrs":
                message[name] = value
        message.encode()
        self.send_body(kind, flags, bytes(message.data[netlink.HEADER.size :]))

    def send_body(self, kind: int, flags: int, body: bytes) -> None:
        """Request a change.

        :param body: the message without its header
        :raises RtnlError: the kernel refused the request
        """
        number = self._send(kind, flags | netlink.ACK, body)
        for _ in self._answers(number):
            pass

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        number = next(self._sequence)
        self._socket.send(netlink.message(kind, flags, body, number))
        return number

    def _answers(self, number: int) -> Iterator[tuple[int, int, bytes]]:
        while True:
            for kind, flags, sequence, body in netlink.messages(self._socket.recv(_BUFFER)):
                if sequence != number:
                    continue
                if kind in (netlink.ERROR, netlink.DONE):
                    _raise_if_refused(body, flags)
                    return
                yield kind, flags, body


def decode(kind: int, body: bytes) -> Any:
    """Return the pyroute2 message for a body from :meth:`Rtnl.dump`."""
    message = _CLASS[kind](netlink.message(kind, 0, body))
    message.decode()
    return message


def is_local_route(body: bytes) -> bool:
    """Return whether a route is in the table that the kernel derives from the addresses.

    Most routes are, and this check of one byte of ``rtmsg`` saves decoding them.
    """
    return body[4] == _RT_TABLE_LOCAL


def _raise_if_refused(body: bytes, flags: int) -> None:
    try:
        netlink.raise_if_refused(body)
    except OSError as error:
        message = _kernel_message(body) if flags & _NLM_F_ACK_TLVS else ""
        raise RtnlError(error.errno, message or error.strerror) from None


def _kernel_message(body: bytes) -> str:
    """Return the text of an extended acknowledgement.

    NETLINK_CAP_ACK keeps the kernel from repeating the request before it.
    """
    attributes = dict(netlink.attributes(body[4 + netlink.HEADER.size :]))
    return attributes.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode("utf-8", "replace")
