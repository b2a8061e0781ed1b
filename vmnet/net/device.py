"""The current network devices, with the properties that a running VM depends on."""

from __future__ import annotations

import socket
import struct

from vmnet.model.base import frozen
from vmnet.net import dump, netlink
from vmnet.net.filters import attached

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_SCOPE_UNIVERSE = 0
_IFA_ADDRESS, _IFA_LOCAL, _LINK_LOCAL = 1, 2, bytes((169, 254))
_IFA_F_PERMANENT = 0x80
_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 4, 10, 18, 1
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_ARPHRD_ETHER = 1


@frozen
class Device:
    """A network device.

    :param index: the kernel's index, which the namespace never reuses
    :param master: the index of the bridge that the device is a port of; 0 if it is no port
    :param kind: veth, bridge, tun …; empty for hardware
    :param mtu: in bytes
    """

    index: int
    name: str
    is_ethernet: bool
    is_up: bool
    has_carrier: bool
    master: int
    kind: str
    mtu: int = 0


def numbers() -> frozenset[int]:
    """Return the index of every device.

    :raises OSError: the kernel refused
    """
    return frozenset(index for index, _ in socket.if_nameindex())


def devices() -> dict[int, Device]:
    """Return every device by its index.

    :raises OSError: the kernel refused
    """
    request = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = map(_device, dump.bodies(dump.RTM_GETLINK, request))
    return {device.index: device for device in found}


def addressed() -> frozenset[int]:
    """Return the index of each device with an address that other hosts reach, of either family.

    Link-local addresses do not count. vmnet gives them to NICs that serve kept ports.

    :raises OSError: the kernel refused
    """
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return frozenset(filter(None, map(_addressed, dump.bodies(dump.RTM_GETADDR, request))))


def _addressed(body: bytes) -> int:
    """Return the index of an address's device; 0 if other hosts don't reach the address."""
    *_, scope, index = _ADDRESS.unpack_from(body)
    local = dict(netlink.attributes(body[_ADDRESS.size :])).get(_IFA_LOCAL, b"")
    return index if scope == _SCOPE_UNIVERSE and not local.startswith(_LINK_LOCAL) else 0


def permanent_addresses(index: int) -> tuple[str, ...]:
    """Return a device's addresses with their prefix lengths, without those that may expire.

    :raises OSError: the kernel refused
    """
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = (_permanent(body, index) for body in dump.bodies(dump.RTM_GETADDR, request))
    return tuple(sorted(filter(None, found)))


def _permanent(body: bytes, wanted: int) -> str:
    """Return an address; empty if it is another device's, or may expire."""
    family, prefix, flags, scope, index = _ADDRESS.unpack_from(body)
    if index != wanted or not flags & _IFA_F_PERMANENT or scope != _SCOPE_UNIVERSE:
        return ""
    attributes = dict(netlink.attributes(body[_ADDRESS.size :]))
    packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
    return f"{socket.inet_ntop(family, packed)}/{prefix}"


def has_filter(index: int) -> bool:
    """Return whether a device has a classic BPF filter for the frames that it receives (tc-bpf(8)).

    :raises OSError: the kernel refused
    """
    return bool(attached.programs(index))


def _device(body: bytes) -> Device:
    _, kind, index, flags, _ = _LINK.unpack_from(body)
    attributes = dict(netlink.attributes(body[_LINK.size :]))
    master = attributes.get(_IFLA_MASTER)
    info = dict(netlink.attributes(attributes.get(_IFLA_LINKINFO, b"")))
    return Device(
        index=index,
        name=_text(attributes[_IFLA_IFNAME]),
        is_ethernet=kind == _ARPHRD_ETHER,
        is_up=bool(flags & _IFF_UP),
        has_carrier=bool(flags & _IFF_LOWER_UP),
        master=struct.unpack("=I", master)[0] if master else 0,
        kind=_text(info.get(_IFLA_INFO_KIND, b"")),
        mtu=struct.unpack("=I", attributes[_IFLA_MTU])[0],
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
