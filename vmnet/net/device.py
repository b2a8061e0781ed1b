"""The network devices that there are now, as far as a running machine depends on them."""

from __future__ import annotations

import socket
import struct

from vmnet.model.base import frozen
from vmnet.net import dump

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 10, 18, 1
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_ARPHRD_ETHER = 1


@frozen
class Device:
    """A network device.

    :param index: the kernel's number, which no other device gets while the namespace lives
    :param master: the number of the bridge that it is a port of; 0 for none
    :param kind: veth, bridge, tun …; empty for hardware
    """

    index: int
    name: str
    is_ethernet: bool
    is_up: bool
    has_carrier: bool
    master: int
    kind: str


def numbers() -> frozenset[int]:
    """The number of every device.

    :raises OSError: the kernel does not say
    """
    return frozenset(index for index, _ in socket.if_nameindex())


def devices() -> dict[int, Device]:
    """Every device by its number.

    :raises OSError: the kernel does not say
    """
    request = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = map(_device, dump.bodies(dump.RTM_GETLINK, request))
    return {one.index: one for one in found}


def _device(body: bytes) -> Device:
    _, kind, index, flags, _ = _LINK.unpack_from(body)
    master = dump.attribute(body, _LINK.size, _IFLA_MASTER)
    info = dump.attribute(body, _LINK.size, _IFLA_LINKINFO)
    return Device(
        index=index,
        name=_text(dump.attribute(body, _LINK.size, _IFLA_IFNAME)),
        is_ethernet=kind == _ARPHRD_ETHER,
        is_up=bool(flags & _IFF_UP),
        has_carrier=bool(flags & _IFF_LOWER_UP),
        master=struct.unpack("=I", master)[0] if master else 0,
        kind=_text(dump.attribute(info, 0, _IFLA_INFO_KIND)),
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
