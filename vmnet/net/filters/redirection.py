"""Filters that join an uplink and a tap: each sends its frames to the other (tc-mirred(8)).

A chain on each end first drops what the bridge strategy's filters drop, by the same programs. Then
it leaves the frames that are for the container itself to the container's own stack. The rest goes
to the other end.

The tap is the container's own end of the guest's link. Its stack receives DHCP, if the container
serves it, and ARP and IPv4 for the tap's addresses, limited to what :mod:`reception` accepts from a
guest. It receives no IPv6: the responder reads that from the tap before the filters.

The tap's link-local address is for the container, whatever the frame's destination MAC. A spare
address may become that of another machine on the network, so only the frames to the tap's own MAC
are for the container; ARP broadcasts reach both the container and the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from vmnet.errors import BridgeError
from vmnet.model.wiring import Local, Outside, Port, Redirect
from vmnet.net import rtnl
from vmnet.net.filters import antispoof, clsact, containment, keeping, reception
from vmnet.net.filters.cbpf import JEQ, LD, LDH, LDH_X, RET, VLAN_TAG_PRESENT, Program
from vmnet.net.filters.matching import (
    ANY_FRAGMENT,
    ARP,
    DHCP_SERVER,
    DROP,
    IPV4,
    IPV6,
    PASS,
    UDP,
    ipv4_payload,
    jump_if,
    jump_if_from,
    jump_if_ipv4,
    jump_if_to,
    require,
    require_length,
    require_value,
)

_SELECTED, _OTHER = (RET, clsact.SELECTED, 0, 0), (RET, 0, 0, 0)


def require_action(kernel: rtnl.Rtnl) -> None:
    """Require the kernel's module for redirections, without changing anything.

    :raises clsact.LackingModule: the kernel lacks it; see :func:`modules`
    :raises vmnet.net.rtnl.RtnlError: the kernel gave another answer than expected
    """
    clsact.require_redirection(kernel)


def join(kernel: rtnl.Rtnl, port: Port, tap: Local, path: Redirect) -> None:
    """Redirect the frames of an uplink and a tap that have no filters yet to each other.

    :raises clsact.LackingModule: the kernel lacks a module; see :func:`modules`
    :raises vmnet.net.rtnl.RtnlError: the kernel refused the request
    """
    if path.outside is not None:
        filter_outside(kernel, port, path, path.outside)
    uplink: dict[int, list[clsact.Step]] = {clsact.INGRESS: [containment.entering(port)]}
    if port.kept is not None:
        uplink[clsact.INGRESS].append(keeping.program(port.kept))
    if path.outside is not None and not path.is_sibling:
        uplink[clsact.INGRESS].append(for_outside(path.outside))
        uplink[clsact.INGRESS].append(clsact.Copy(arp_broadcasts(), tap.device))
    uplink[clsact.INGRESS].append(clsact.Redirection(tap.device))
    if port.contain:
        uplink[clsact.EGRESS] = [containment.leaving(port)]
    clsact.require(kernel, port.uplink, uplink)
    from_guest: list[clsact.Step] = [for_container(port, tap)]
    if port.sender is not None:
        from_guest.insert(0, antispoof.program(port.guest_mac, port.sender))
    if tap.candidates:
        from_guest.append(clsact.Copy(arp_broadcasts(), port.uplink))
    from_guest.append(clsact.Redirection(port.uplink))
    clsact.require(kernel, tap.device, {clsact.INGRESS: from_guest})


@contextmanager
def modules(uplink: str) -> Iterator[None]:
    """Raise a LackingModule of the block as an error of vmnet.

    :param uplink: the NIC whose frames were to be redirected
    :raises BridgeError: the kernel lacks a module
    """
    try:
        yield
    except clsact.LackingModule as error:
        raise lacking(uplink, str(error.strerror)) from None


def lacking(uplink: str, module: str) -> BridgeError:
    """Return the error for an uplink whose frames the kernel cannot redirect without a module."""
    return BridgeError(
        f"can't redirect the frames of {uplink}: the kernel lacks {module}",
        f"`modprobe {module}` on the host, or VMNET_BRIDGE=passt, or VMNET_BRIDGE=bridge on a "
        "network of another kind than macvlan and ipvlan",
    )


def filter_outside(kernel: rtnl.Rtnl, port: Port, path: Redirect, outside: Outside) -> None:
    """Limit what the network and the guest can reach at the way out; see :func:`join`."""
    program = outside_program(port, path, outside)
    clsact.require(kernel, outside.device, {clsact.INGRESS: [program]})


def for_container(port: Port, tap: Local) -> Program:
    """Return the program that keeps frames from the guest for the container's stack."""
    own = [address.ip for address in tap.addresses if address.ip.is_link_local]
    localhost = reception.localhost(port)
    spares = [address.ip for address in tap.candidates]
    return {
        "start": [
            (LD, VLAN_TAG_PRESENT, 0, 0),
            (JEQ, 0, 1, 0),
            PASS,
            (LDH, 12, 0, 0),  # EtherType
            *jump_if(ARP, "arp"),
            *jump_if(IPV4, "ipv4"),
            *(jump_if(IPV6, "ipv6 from the guest") if reception.localhost6(port) else ()),
            PASS,
        ],
        "arp": [
            *require_length(14 + 28),
            *jump_if_ipv4(LD, 38, [*own, *localhost], "pass"),  # the target's address (RFC 826)
            *jump_if_to(tap.mac, "pass"),
            PASS,
        ],
        "ipv4": [
            *require_length(14 + 20),
            *jump_if_ipv4(LD, 30, own, "from the guest"),
            *jump_if_ipv4(LD, 30, localhost, "answers to localhost"),
            *(jump_if(int(reception.BROADCAST), "broadcast") if port.contain else ()),
            *jump_if_to(tap.mac, "to the tap"),
            PASS,
        ],
        "to the tap": [*jump_if_ipv4(LD, 30, spares, "from the guest"), PASS],
        "broadcast": [
            *ipv4_payload(ANY_FRAGMENT, "on"),
            (JEQ, UDP, 0, "on"),
            (LDH_X, 16, 0, 0),
            (JEQ, DHCP_SERVER, "pass", "on"),
        ],
        **reception.from_guest(),
        **reception.answers(),
        **(reception.answers6(port, PASS) if reception.localhost6(port) else {}),
        "pass": [keeping.KEEP],
        "on": [PASS],
        "drop": [DROP],
    }


def for_outside(outside: Outside) -> Program:
    """Return the program for an uplink that keeps frames from the network for the way out.

    The kernel passes a frame that is kept to the macvlan device on the uplink.
    """
    return {"start": [*jump_if_to(outside.mac, "keep"), PASS], "keep": [keeping.KEEP]}


def arp_broadcasts() -> Program:
    """Return the program that selects ARP broadcasts for :class:`~vmnet.net.filters.clsact.Copy`.

    They are for all stations on a link.
    """
    return {
        "start": [
            (LDH, 12, 0, 0),  # EtherType
            (JEQ, ARP, 1, 0),
            _OTHER,
            *jump_if_to("ff:ff:ff:ff:ff:ff", "broadcast"),
            _OTHER,
        ],
        "broadcast": [(LD, VLAN_TAG_PRESENT, 0, 0), (JEQ, 0, 1, 0), _OTHER, _SELECTED],
    }


def outside_program(port: Port, path: Redirect, outside: Outside) -> Program:
    """Return the filter for packets from the network to the container itself.

    It drops those of the guest, which a macvlan passes to its siblings.
    """
    return {
        "start": [
            *(() if path.shares_mac else jump_if_from(port.guest_mac, "drop")),
            *require(LD, VLAN_TAG_PRESENT, 0),
            (LDH, 12, 0, 0),  # EtherType
            *jump_if(ARP, "arp"),
            *require_value(IPV4),
            *require_length(14 + 20),
            *jump_if_ipv4(LD, 26, port.owned, "drop"),  # the sender's address
            *jump_if_ipv4(LD, 30, _addresses(outside), "from the network"),
            DROP,
        ],
        "arp": [*jump_if_ipv4(LD, 28, port.owned, "drop"), PASS],  # the sender's address
        **reception.from_network(),
        "pass": [PASS],
        "drop": [DROP],
    }


def _addresses(outside: Outside) -> Iterator[IPv4Address]:
    for address in outside.candidates:
        yield address.ip
