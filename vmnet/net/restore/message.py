"""Parse the kernel's rtnetlink messages, compare them, and turn them into requests.

A message is the body without the header (rtnetlink(7)): a fixed part whose form depends on the kind
of object, and attributes.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address

from attrs import frozen

from vmnet.net import rtnl
from vmnet.net.netlink import attribute, attributes

# The length of the fixed part, by kind.
FIXED = {
    rtnl.RTM_NEWADDR: 8,  # struct ifaddrmsg
    rtnl.RTM_NEWROUTE: 12,  # struct rtmsg
    rtnl.RTM_NEWNEIGH: 12,  # struct ndmsg
    rtnl.RTM_NEWNEXTHOP: 8,  # struct nhmsg
}
_HOP = struct.Struct("=HBBi")  # struct rtnexthop

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_F_TEMPORARY, _F_NODAD, _F_DADFAILED = 0x01, 0x02, 0x08
_F_SECONDARY, _F_DEPRECATED = 0x01, 0x20
_F_STATE = 0x04 | _F_DADFAILED | 0x20 | 0x40  # OPTIMISTIC, DADFAILED, DEPRECATED, TENTATIVE

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_TABLE, _RTA_VIA, _RTA_EXPIRES, _RTA_NH_ID = (
    9,
    12,
    15,
    18,
    23,
    30,
)
_RTPROT_KERNEL, _RTPROT_RA, _RT_TABLE_LOCAL, _RTN_LOCAL = 2, 9, 255, 2
_RTNH_F_ONLINK = 4  # all other flags report a state, and the kernel refuses them in a request
_USER_HZ = 100

_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO, _NDA_PROBES = 1, 2, 3, 4
_NUD_PERMANENT = 0x80

_NHA_ID, _NHA_GROUP, _NHA_OIF = 1, 2, 5
_NHA_REQUESTED = (*range(1, 9), 11, 12)  # up to NHA_ENCAP, NHA_FDB, NHA_RES_GROUP
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@frozen
class Message:
    """An address, route, neighbour or nexthop object of the kernel.

    :param kind: RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH or RTM_NEWNEXTHOP
    :param fixed: the part before the attributes
    :param attributes: the attributes' payloads by type
    """

    kind: int
    fixed: bytes
    attributes: dict[int, bytes]

    @classmethod
    def parse(cls, kind: int, body: bytes) -> Message:
        fixed = body[: FIXED[kind]]
        return cls(kind, fixed, dict(attributes(body[FIXED[kind] :])))

    @property
    def family(self) -> int:
        return self.fixed[0]

    @property
    def is_ipv6(self) -> bool:
        return self.family == socket.AF_INET6

    # -- the objects that it refers to

    @property
    def indices(self) -> frozenset[int]:
        """The indices of its interfaces; a multipath route has several."""
        if self.kind in (rtnl.RTM_NEWADDR, rtnl.RTM_NEWNEIGH):
            return frozenset((_number(self.fixed[4:8]),))
        own = _NHA_OIF if self.kind == rtnl.RTM_NEWNEXTHOP else _RTA_OIF
        found = {_number(self.attributes[own])} if own in self.attributes else set()
        if self.kind == rtnl.RTM_NEWROUTE:
            found.update(index for _, _, index, _ in self._hops())
        return frozenset(found)

    @property
    def nexthops(self) -> frozenset[int]:
        """The IDs of a route's nexthop object, or of a nexthop object and its members."""
        if self.kind == rtnl.RTM_NEWROUTE:
            found = self.attributes.get(_RTA_NH_ID)
            return frozenset(() if found is None else (_number(found),))
        group = self.attributes.get(_NHA_GROUP, b"")  # an array of struct nexthop_grp
        members = (_number(group[at : at + 4]) for at in range(0, len(group), 8))
        return frozenset((_number(self.attributes[_NHA_ID]), *members))

    @property
    def address(self) -> bytes:
        """The address of an interface or neighbour, or a route's destination; empty for default."""
        if self.kind == rtnl.RTM_NEWADDR:
            return self.attributes.get(_IFA_LOCAL) or self.attributes.get(_IFA_ADDRESS, b"")
        return self.attributes.get(_RTA_DST if self.kind == rtnl.RTM_NEWROUTE else _NDA_DST, b"")

    @property
    def mac(self) -> str:
        """The MAC of a neighbour; empty if it has none."""
        return self.attributes.get(_NDA_LLADDR, b"").hex(":")

    @property
    def source(self) -> bytes:
        """The preferred source address of a route; empty if it has none."""
        return self.attributes.get(_RTA_PREFSRC, b"")

    @property
    def gateway(self) -> bytes:
        """The next hop of a route; empty for several next hops or one of the other family."""
        return self.attributes.get(_RTA_GATEWAY, b"")

    @property
    def is_kept(self) -> bool:
        """Whether it was configured, rather than derived or learned by the kernel."""
        if self.family not in _FAMILIES and self.kind != rtnl.RTM_NEWNEXTHOP:
            return False
        if self.kind == rtnl.RTM_NEWNEIGH:
            return bool(int.from_bytes(self.fixed[8:10], sys.byteorder) & _NUD_PERMANENT)
        if self.kind == rtnl.RTM_NEWROUTE:
            table, protocol = self.fixed[4:6]
            return (table, protocol) != (_RT_TABLE_LOCAL, _RTPROT_KERNEL)
        return True

    @property
    def is_advertised(self) -> bool:
        """Whether router advertisements created it; they can change it at any time."""
        if self.kind == rtnl.RTM_NEWROUTE:
            return self.is_ipv6 and (self.fixed[5] == _RTPROT_RA or bool(self._expires()))
        if self.kind == rtnl.RTM_NEWADDR:
            return self.is_ipv6 and not self._flags() & 0x80  # IFA_F_PERMANENT
        return False

    @property
    def metric(self) -> int:
        """The metric of a route."""
        return _number(self.attributes.get(_RTA_PRIORITY, b""))

    @property
    def is_onlink(self) -> bool:
        """Whether a route's gateway counts as a neighbour, whatever the NIC's addresses are."""
        return bool(_number(self.fixed[8:12]) & _RTNH_F_ONLINK)

    @property
    def is_deprecated(self) -> bool:
        """Whether it is an address whose preferred lifetime has ended (RFC 4862 section 5.5.4)."""
        return bool(self._flags() & _F_DEPRECATED)

    def with_source(self, address: bytes) -> Message:
        """Return the route with another preferred source address."""
        return Message(self.kind, self.fixed, {**self.attributes, _RTA_PREFSRC: address})

    def ranked(self, *, secondary: bool) -> Message:
        """Return the IPv4 address as a primary or a secondary address of its subnet."""
        flags = self._flags() & ~(_F_SECONDARY | _F_DEPRECATED)
        flags |= _F_SECONDARY if secondary else 0
        fixed = self.fixed[:2] + bytes((flags & 0xFF,)) + self.fixed[3:]
        return Message(self.kind, fixed, {**self.attributes, _IFA_FLAGS: _packed(flags)})

    # -- comparison

    @property
    def meaning(self) -> tuple[object, ...]:
        """The configuration, without state and lifetimes, to compare messages by."""
        fixed, attributes = self.fixed, dict(self.attributes)
        if self.kind == rtnl.RTM_NEWADDR:
            # IFA_FLAGS has more flags than the fixed part. The kernel decides which IPv6 addresses
            # are temporary.
            configured = self._flags() & ~(_F_STATE | (_F_TEMPORARY if self.is_ipv6 else 0))
            fixed = fixed[:2] + b"\0" + fixed[3:]
            attributes[_IFA_FLAGS] = _packed(configured)
            attributes.pop(_IFA_CACHEINFO, None)
        elif self.kind == rtnl.RTM_NEWNEIGH:
            fixed = fixed[:11]  # without the type, which the kernel derived from the routes
            for kind in (_NDA_CACHEINFO, _NDA_PROBES):
                attributes.pop(kind, None)
        else:
            fixed, attributes = self._as_requested()
            attributes.pop(_RTA_EXPIRES, None)
        return (self.kind, fixed, frozenset(attributes.items()))

    @property
    def slot(self) -> tuple[object, ...]:
        """The key of a route in its table. The kernel tries routes with the same key in order."""
        table = self.attributes.get(_RTA_TABLE, self.fixed[4:5])
        metric = self.attributes.get(_RTA_PRIORITY, b"")
        # fixed[:4]: family, prefix lengths and type of service.
        return (self.fixed[:4], table, self.address, metric)

    @property
    def is_ordered(self) -> bool:
        """Whether it is a route whose order within its slot was configured."""
        is_route = self.kind == rtnl.RTM_NEWROUTE
        return is_route and not (self.is_ipv6 and self.fixed[5] == _RTPROT_KERNEL)

    @property
    def is_local(self) -> bool:
        """Whether it is a route to an address at which the kernel itself receives packets."""
        return self.kind == rtnl.RTM_NEWROUTE and self.fixed[7] == _RTN_LOCAL

    # -- conversion to a request

    @property
    def body(self) -> bytes:
        """The body of a request that creates the object."""
        if self.kind in (rtnl.RTM_NEWROUTE, rtnl.RTM_NEWNEXTHOP):
            return Message(self.kind, *self._as_requested()).body_as_dumped
        return self.body_as_dumped

    @property
    def body_as_dumped(self) -> bytes:
        """The message as it was parsed."""
        pairs = self.attributes.items()
        return self.fixed + b"".join(attribute(kind, value) for kind, value in pairs)

    @property
    def body_without_dad(self) -> bytes:
        """The body of a request for an IPv6 address that skips duplicate address detection."""
        flags = {_IFA_FLAGS: _packed(self._flags() | _F_NODAD)}
        return Message(self.kind, self.fixed, {**self.attributes, **flags}).body

    @property
    def is_subject_to_dad(self) -> bool:
        """Whether duplicate address detection applies to it (RFC 4862 section 5.4)."""
        is_address = self.kind == rtnl.RTM_NEWADDR and self.is_ipv6
        return is_address and not self._flags() & (_F_NODAD | _F_DADFAILED)

    def gateway_route(self) -> bytes:
        """Return the request for an on-link route to this route's gateway; empty without one."""
        if not (self.gateway and _RTA_OIF in self.attributes):
            return b""
        prefix = len(self.gateway) * 8
        scope = 0 if self.is_ipv6 else 253  # RT_SCOPE_LINK
        # In the same table, RTPROT_STATIC, RTN_UNICAST, without flags.
        fixed = struct.pack("=8BI", self.family, prefix, 0, 0, self.fixed[4], 4, scope, 1, 0)
        kept = (_RTA_OIF, _RTA_TABLE)
        pairs = [(_RTA_DST, self.gateway), *((kind, self.attributes[kind]) for kind in kept)]
        if self.is_ipv6:  # the most preferred metric; in IPv4 this is the default
            pairs.append((_RTA_PRIORITY, _packed(1)))
        return fixed + b"".join(attribute(kind, value) for kind, value in pairs)

    def _as_requested(self) -> tuple[bytes, dict[int, bytes]]:
        """Return the fixed part and attributes without state, which the kernel may refuse."""
        at = 4 if self.kind == rtnl.RTM_NEWNEXTHOP else 8
        flags = _number(self.fixed[at : at + 4]) & _RTNH_F_ONLINK
        fixed = self.fixed[:at] + _packed(flags) + self.fixed[at + 4 :]
        attributes = dict(self.attributes)
        if self.kind == rtnl.RTM_NEWNEXTHOP:
            requested = {key: attributes[key] for key in attributes if key in _NHA_REQUESTED}
            return fixed[:1] + b"\0" + fixed[2:], requested  # the kernel determines the scope
        attributes.pop(_RTA_CACHEINFO, None)
        if expires := self._expires():
            attributes[_RTA_EXPIRES] = _packed(expires)
        if _RTA_NH_ID in attributes:  # the nexthop object contains the rest
            for kind in (_RTA_OIF, _RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH):
                attributes.pop(kind, None)
        elif _RTA_MULTIPATH in attributes:
            attributes[_RTA_MULTIPATH] = self._multipath()
        return fixed, attributes

    def _flags(self) -> int:
        """Return the flags of an address; 0 for other objects."""
        if self.kind != rtnl.RTM_NEWADDR:
            return 0
        flags = self.attributes.get(_IFA_FLAGS)
        return self.fixed[2] if flags is None else _number(flags)

    def _expires(self) -> int:
        """Return the seconds until an IPv6 route expires; 0 if it never expires."""
        info = self.attributes.get(_RTA_CACHEINFO, b"")  # struct rta_cacheinfo
        ticks = int.from_bytes(info[8:12], sys.byteorder, signed=True)
        return -(-ticks // _USER_HZ) if self.is_ipv6 and ticks > 0 else 0

    def _hops(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield flags, weight, interface and attributes of each hop of a multipath route."""
        data = self.attributes.get(_RTA_MULTIPATH, b"")
        while len(data) >= _HOP.size:
            length, flags, weight, index = _HOP.unpack_from(data)
            if length < _HOP.size:
                raise ValueError("a hop of the route is incomplete")
            yield flags, weight, index, data[_HOP.size : length]
            data = data[(length + 3) & ~3 :]

    def _multipath(self) -> bytes:
        return b"".join(
            _HOP.pack(_HOP.size + len(more), flags & _RTNH_F_ONLINK, weight, index) + more
            for flags, weight, index, more in self._hops()
        )

    def __str__(self) -> str:
        if self.kind == rtnl.RTM_NEWNEXTHOP:
            return f"nexthop {_number(self.attributes[_NHA_ID])}"
        shown = str(ip_address(self.address)) if self.address else "default"
        if self.kind == rtnl.RTM_NEWNEIGH:
            return f"neighbour {shown}"
        if self.kind == rtnl.RTM_NEWADDR:
            return f"address {shown}/{self.fixed[1]}"
        via = f" via {ip_address(self.gateway)}" if self.gateway else ""
        return f"route {shown}{f'/{self.fixed[1]}' if self.address else ''}{via}"


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _packed(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)
