"""Read and change links, addresses and routes, one function for each change."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import sys
from array import array
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any

from vmnet.model.identity import Route
from vmnet.net import default_route, rtnl
from vmnet.net.netlink import attribute
from vmnet.net.packets import mac_bytes

IFF_UP, IFF_NOARP, IFF_ALLMULTI = 0x1, 0x80, 0x200
MAIN_TABLE = 254
"""The number of the main table of routes."""
REDIRECTED = IFF_NOARP | IFF_ALLMULTI
"""The flags of an uplink whose frames never reach the stack: no ARP, and every multicast group."""
_LAST_SMALL_TABLE = 255
_IFLA_AF_SPEC, _IFLA_INET_CONF = 26, 1
_IPV4_DEVCONF_FORWARDING, _IPV4_DEVCONF_ARP_IGNORE = 1, 19
_IPV4_DEVCONF_ARP_NOTIFY, _IPV4_DEVCONF_ACCEPT_LOCAL = 22, 23
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK = 1, 3, 4, 5
_IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_INFO_DATA = 18, 1, 2
_IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 4, 5
_IFLA_MACVLAN_MODE, _MACVLAN_MODE_BRIDGE = 1, 4
_IFLA_IPVLAN_MODE, _IPVLAN_MODE_L2 = 1, 0
_IPVLAN_MODES = {0: "l2", 1: "l3", 2: "l3s"}
_IFLA_BRPORT_LEARNING, _IFLA_BRPORT_UNICAST_FLOOD, _IFLA_BRPORT_GROUP_FWD_MASK = 8, 9, 31
_IFLA_BRPORT_NEIGH_SUPPRESS = 32
# The last byte of reserved multicast MACs, as bits: all but 1, which pause frames use.
_ALL_BUT_PAUSE = 0xFFFD
_ADDR_GEN_MODE_NONE = 1
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFA_F_NODAD, _RTAX_MTU = 2, 2
_RTPROT_STATIC, _RTN_UNICAST, _RT_SCOPE_LINK, _RTNH_F_ONLINK = 4, 1, 253, 4
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_NEW = rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL


def get(kernel: rtnl.Rtnl, name: str) -> Any:
    """Return the link of that name.

    :raises OSError: it does not exist
    """
    return kernel.link(index(name))


def find(kernel: rtnl.Rtnl, name: str) -> Any:
    """Return the link of that name, or None."""
    return get(kernel, name) if exists(name) else None


def exists(name: str) -> bool:
    """Return whether an interface of that name exists."""
    try:
        index(name)
    except OSError:
        return False
    return True


def index(name: str) -> int:
    """Return the index of the interface of that name.

    :raises OSError: it does not exist
    """
    return socket.if_nametoindex(name)


def add_bridge(kernel: rtnl.Rtnl, name: str, mac: str, mtu: int) -> None:
    """Add a bridge that forwards from the first frame on, without spanning tree."""
    bridge = {
        "attrs": [
            ("IFLA_BR_FORWARD_DELAY", 0),
            ("IFLA_BR_STP_STATE", 0),
            # With snooping but without a querier, the bridge could drop neighbour discovery.
            ("IFLA_BR_MCAST_SNOOPING", 0),
        ]
    }
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", bridge)]}
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", info),
    ]
    kernel.request(rtnl.RTM_NEWLINK, _NEW, {"attrs": attributes})


def add_macvlan(kernel: rtnl.Rtnl, name: str, below: str, mac: str, mtu: int) -> None:
    """Add a macvlan in bridge mode on a link, or on the link below if that link is a macvlan."""
    data = attribute(_IFLA_MACVLAN_MODE, struct.pack("=I", _MACVLAN_MODE_BRIDGE))
    _add_above(
        kernel, name, below, mtu, b"macvlan\0", data, attribute(_IFLA_ADDRESS, mac_bytes(mac))
    )


def add_ipvlan(kernel: rtnl.Rtnl, name: str, below: str, mtu: int) -> None:
    """Add an ipvlan in mode L2 on the link of another ipvlan, with the same MAC."""
    data = attribute(_IFLA_IPVLAN_MODE, struct.pack("=H", _IPVLAN_MODE_L2))
    _add_above(kernel, name, below, mtu, b"ipvlan\0", data)


def _add_above(
    kernel: rtnl.Rtnl, name: str, below: str, mtu: int, kind: bytes, data: bytes, more: bytes = b""
) -> None:
    info = attribute(_IFLA_INFO_KIND, kind) + attribute(_IFLA_INFO_DATA, data)
    attributes = (
        attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + attribute(_IFLA_MTU, struct.pack("=I", mtu))
        + attribute(_IFLA_LINK, struct.pack("=I", index(below)))
        + attribute(_IFLA_LINKINFO, info)
    )
    header = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)  # struct ifinfomsg
    kernel.send_body(rtnl.RTM_NEWLINK, _NEW, header + attributes + more)


def set_flags(kernel: rtnl.Rtnl, name: str, flags: int, mask: int) -> None:
    """Set the flags of a link that are in the mask, and clear the others that are in it."""
    fields = {"index": index(name), "flags": flags & mask, "change": mask, "attrs": []}
    kernel.request(rtnl.RTM_NEWLINK, 0, fields)


def change(
    kernel: rtnl.Rtnl,
    name: str,
    *,
    up: bool | None = None,
    mac: str | None = None,
    mtu: int | None = None,
    master: int | None = None,
    addr_gen_mode: int | None = None,
    queue_length: int | None = None,
) -> None:
    """Change the given attributes of a link.

    :param master: the bridge's index; 0 takes the link out of its bridge
    :param queue_length: the length of the transmit queue, in frames
    :param addr_gen_mode: how the kernel generates the link's IPv6 link-local address (rtnetlink(7))
    """
    attributes: list[tuple[str, Any]] = [
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_MASTER", master),
        ("IFLA_TXQLEN", queue_length),
    ]
    if addr_gen_mode is not None:
        inet6 = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", addr_gen_mode)]}
        attributes.append(("IFLA_AF_SPEC", {"attrs": [("AF_INET6", inet6)]}))
    fields: dict[str, Any] = {"index": index(name), "attrs": attributes}
    if up is not None:
        fields |= {"flags": IFF_UP if up else 0, "change": IFF_UP}
    kernel.request(rtnl.RTM_NEWLINK, 0, fields)


def addr_gen_mode(link: Any) -> int | None:
    """Return the mode that :func:`change` sets, or None if the kernel has no IPv6."""
    families = link.get_attr("IFLA_AF_SPEC")
    inet6 = families.get_attr("AF_INET6") if families is not None else None
    mode: int | None = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 is not None else None
    return mode


def mode(kernel: rtnl.Rtnl, name: str) -> str:
    """Return the mode of a macvlan or ipvlan link (ip-link(8)); empty for other kinds."""
    info = get(kernel, name).get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else ""
    if kind == "macvlan":
        return str(info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_MACVLAN_MODE"))
    if kind == "ipvlan":
        number = info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_IPVLAN_MODE")
        return _IPVLAN_MODES.get(number, str(number))
    return ""


def disable_ipv6_link_local(kernel: rtnl.Rtnl, name: str) -> None:
    """Keep the kernel from generating an IPv6 link-local address, and so from sending IPv6."""
    try:
        change(kernel, name, addr_gen_mode=_ADDR_GEN_MODE_NONE)
    except rtnl.RtnlError as error:
        if error.errno != errno.EAFNOSUPPORT:  # the kernel has no IPv6
            raise


def delete(kernel: rtnl.Rtnl, name: str) -> None:
    kernel.request(rtnl.RTM_DELLINK, 0, {"index": index(name)})


def delete_addresses(kernel: rtnl.Rtnl, name: str) -> None:
    """Delete all addresses of a link.

    Delete secondary addresses first, because the kernel removes them with their primary address.
    """
    own = index(name)
    for body in reversed(kernel.dump(rtnl.RTM_NEWADDR)):
        if int.from_bytes(body[4:8], sys.byteorder) == own:
            kernel.send_body(rtnl.RTM_DELADDR, 0, body)


def delete_routes(kernel: rtnl.Rtnl, name: str) -> None:
    """Delete the routes that the kernel derived from a link's addresses.

    The container then no longer takes IPv4 packets for these addresses as its own. IPv6 routes to
    the addresses themselves remain, because the kernel keeps them with the addresses.
    """
    own = index(name)
    for body in kernel.dump(rtnl.RTM_NEWROUTE):
        if body[0] == socket.AF_INET6 and rtnl.is_local_route(body):
            continue
        if rtnl.decode(rtnl.RTM_NEWROUTE, body).get_attr("RTA_OIF") == own:
            try:
                kernel.send_body(rtnl.RTM_DELROUTE, 0, body)
            except rtnl.RtnlError as error:
                if error.errno != errno.ESRCH:  # the kernel removed it together with another route
                    raise


def add_address(kernel: rtnl.Rtnl, name: str, address: IPv4Interface | IPv6Interface) -> None:
    """Add an address, an IPv6 address without duplicate address detection."""
    fields = {
        "family": _FAMILIES[address.version],
        "prefixlen": address.network.prefixlen,
        "flags": _IFA_F_NODAD if address.version == 6 else 0,
        "index": index(name),
        "attrs": [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))],
    }
    kernel.request(rtnl.RTM_NEWADDR, _NEW, fields)


def add_default_route(kernel: rtnl.Rtnl, name: str, gateway: IPv4Address, onlink: bool) -> None:
    """Add a default route to the main table.

    :param onlink: the gateway is outside the link's subnets
    """
    default_route.add(kernel, index(name), gateway.packed, onlink=onlink)


def add_host_route(kernel: rtnl.Rtnl, name: str, address: IPv4Address) -> None:
    """Add a route to an address on the link that may be outside the link's subnets."""
    _add_route(kernel, name, scope=_RT_SCOPE_LINK, dst_len=32, RTA_DST=str(address))


def add_route(
    kernel: rtnl.Rtnl,
    name: str,
    route: Route,
    *,
    mtu: int | None = None,
    source: IPv4Address | IPv6Address | None = None,
    table: int = MAIN_TABLE,
) -> None:
    """Add a route.

    :param mtu: in bytes; IPv4 routers may fragment larger packets (``mtu lock`` in ip-route(8))
    :param source: the preferred source address; None: the kernel chooses
    :param table: the number of a table; those above 255 need an attribute
    """
    destination, gateway = route.destination, route.gateway
    locked = [("RTAX_LOCK", 1 << _RTAX_MTU)] if destination.version == 4 else []
    metrics = [*locked, ("RTAX_MTU", mtu)]
    _add_route(
        kernel,
        name,
        family=_FAMILIES[destination.version],
        dst_len=destination.prefixlen,
        scope=_RT_SCOPE_LINK if gateway is None and destination.version == 4 else 0,
        flags=_RTNH_F_ONLINK if route.onlink else 0,
        table=0 if table > _LAST_SMALL_TABLE else table,
        RTA_TABLE=table,
        RTA_DST=None if route.is_default else str(destination.network_address),
        RTA_GATEWAY=gateway and str(gateway),
        RTA_PREFSRC=source and str(source),
        RTA_PRIORITY=route.metric or None,
        RTA_METRICS={"attrs": metrics} if mtu else None,
    )


def has_ipv6(name: str) -> bool:
    """Return whether IPv6 is enabled on a link, or by default on new links.

    :param name: a link, or ``default``
    """
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip() == "0"
    except OSError:  # the kernel has no IPv6
        return False


def _add_route(kernel: rtnl.Rtnl, name: str, **given: Any) -> None:
    """:param given: fields of ``rtmsg``, and attributes by their ``RTA_`` names"""
    attributes = {key: value for key, value in given.items() if key.startswith("RTA_")}
    fields = {
        "family": socket.AF_INET,
        "table": MAIN_TABLE,
        "proto": _RTPROT_STATIC,
        "type": _RTN_UNICAST,
        **{key: value for key, value in given.items() if key not in attributes},
        "attrs": [*attributes.items(), ("RTA_OIF", index(name))],
    }
    kernel.request(rtnl.RTM_NEWROUTE, _NEW, fields)


def answer_own_addresses_only(kernel: rtnl.Rtnl, name: str) -> None:
    """Answer ARP on this link only for addresses of this link."""
    _set_sysctl(kernel, name, _IPV4_DEVCONF_ARP_IGNORE, 1)


def announce_addresses(kernel: rtnl.Rtnl, name: str) -> None:
    """Announce the link's addresses by ARP when it goes up (RFC 5227 section 2.3)."""
    _set_sysctl(kernel, name, _IPV4_DEVCONF_ARP_NOTIFY, 1)


def disable_ipv4_forwarding(kernel: rtnl.Rtnl, name: str) -> None:
    """Forward no IPv4 packets that arrive on this link."""
    _set_sysctl(kernel, name, _IPV4_DEVCONF_FORWARDING, 0)


def accept_own_addresses(kernel: rtnl.Rtnl, name: str) -> None:
    """Accept packets from this link whose source is an address of the container."""
    _set_sysctl(kernel, name, _IPV4_DEVCONF_ACCEPT_LOCAL, 1)


def _set_sysctl(kernel: rtnl.Rtnl, name: str, setting: int, value: int) -> None:
    """Set a ``net.ipv4.conf.NAME`` by netlink, because /proc/sys is read-only in containers.

    The kernel expects a nested attribute for each setting. pyroute2 has only the array in which the
    kernel reports them, so this function packs the body.
    """
    packed = attribute(setting, struct.pack("=I", value))
    specification = attribute(socket.AF_INET, attribute(_IFLA_INET_CONF, packed))
    _change_packed(kernel, name, attribute(_IFLA_AF_SPEC, specification))


def set_bridge_port(
    kernel: rtnl.Rtnl, name: str, *, learning: bool, flood: bool, answered: bool = False
) -> None:
    """Set how a bridge treats one of its ports.

    The bridge forwards frames from the port to 01-80-C2-00-00-00 to -0F (IEEE 802.1Q table 8-1) as
    well, such as LLDP, 802.1X and LACP. It forwards no pause frames (-01).

    :param learning: the bridge learns the source MACs of frames from the port
    :param flood: the bridge sends frames for unknown MACs to the port
    :param answered: the bridge answers ARP and neighbour solicitations for hosts behind the port
        that are its neighbours. It then sends no probes and announcements to the port (RFC 5227,
        RFC 4862 section 5.4, RFC 4861 section 7.2.6)
    """
    data = (
        attribute(_IFLA_BRPORT_LEARNING, bytes((learning,)))
        + attribute(_IFLA_BRPORT_UNICAST_FLOOD, bytes((flood,)))
        + attribute(_IFLA_BRPORT_NEIGH_SUPPRESS, bytes((answered,)))
        + attribute(_IFLA_BRPORT_GROUP_FWD_MASK, struct.pack("=H", _ALL_BUT_PAUSE))
    )
    kind = attribute(_IFLA_INFO_SLAVE_KIND, b"bridge\0")
    info = kind + attribute(_IFLA_INFO_SLAVE_DATA, data)
    _change_packed(kernel, name, attribute(_IFLA_LINKINFO, info))


def _change_packed(kernel: rtnl.Rtnl, name: str, attributes: bytes) -> None:
    header = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index(name), 0, 0)  # struct ifinfomsg
    kernel.send_body(rtnl.RTM_NEWLINK, 0, header + attributes)


def disable_tx_checksum(name: str) -> None:
    """Make the kernel compute the checksums of packets that the bridge itself sends.

    Some DHCP clients read raw frames, and drop replies whose checksum was left to a NIC.
    """
    value = array("I", (_ETHTOOL_STXCSUM, 0))  # struct ethtool_value
    request = struct.pack("16sP16x", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
