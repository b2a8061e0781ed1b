"""Choose the NICs to hand over, and refuse those of another VM."""

from __future__ import annotations

import re
from typing import Any

from vmnet.api import BridgeError, CaptureError, engine

IFF_UP = 1
_IFF_LOOPBACK = 8
_ARPHRD_ETHER = 1
_REDIRECTED = 0x280  # IFF_NOARP and IFF_ALLMULTI; see vmnet.net.links.REDIRECTED
# Kinds that vmnet or the kernel creates; no engine gives a container such a NIC.
_NOT_A_NIC = frozenset(("bridge", "tun", "dummy", "gretap", "ip6gretap", "erspan", "ip6erspan"))

_OUR_BRIDGES, _OUR_TAPS = re.compile(r"br\d+", re.ASCII), re.compile(r"tap\d+", re.ASCII)
_OUR_SIBLINGS, _OUR_MACS = re.compile(r"out\d+", re.ASCII), "06:"


def choose(links: list[Any], wanted: tuple[str, ...] | None) -> list[Any]:
    """Return the links to hand over, in the natural order of their names: eth2 before eth10.

    :param wanted: the names of the NICs to return; None for every Ethernet NIC that is up
    :raises CaptureError: there is no NIC, a wanted NIC is missing, or two have the same MAC
    :raises BridgeError: a NIC belongs to another VM
    """
    nics = {link.get_attr("IFLA_IFNAME"): link for link in links if is_nic(link)}
    if wanted is None:
        nics = nics or {link.get_attr("IFLA_IFNAME"): link for link in links if _is_user_mode(link)}
        up = [link for link in nics.values() if link["flags"] & IFF_UP]
        # Bridge ports belong to a program in the container, such as an engine.
        chosen = [link for link in up if not _bridge_of(link, links)] or up
        if not chosen:
            raise CaptureError(
                f"no network interface to hand over (found: {', '.join(nics) or 'none'})",
                engine.network(),
            )
    else:
        missing = [name for name in wanted if name not in nics]
        if missing:
            raise CaptureError(
                f"VMNET_INTERFACES={','.join(wanted)}: there is no interface {missing[0]}",
                f"the container has: {', '.join(nics) or 'none'}",
            )
        chosen = [nics[name] for name in wanted]
    for link in chosen:
        _refuse_used(link, links)
    _require_distinct(chosen)
    return sorted(chosen, key=lambda link: _natural_key(link.get_attr("IFLA_IFNAME")))


def kind(link: Any) -> str:
    """Return the kind of a link; empty for a physical NIC."""
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""


def is_nic(link: Any) -> bool:
    """Return whether a link is an Ethernet NIC that an engine can give a container."""
    return link["ifi_type"] == _ARPHRD_ETHER and kind(link) not in _NOT_A_NIC


def is_of_a_vm(link: Any) -> bool:
    """Return whether a link is a device that vmnet made for a running VM.

    An engine's bridge ``br-0123456789ab`` can have such a MAC by chance, so the name must match.
    """
    name, mac = str(link.get_attr("IFLA_IFNAME")), link.get_attr("IFLA_ADDRESS") or ""
    if kind(link) == "bridge":
        return bool(_OUR_BRIDGES.fullmatch(name)) and mac.startswith(_OUR_MACS)
    if kind(link) in ("macvlan", "ipvlan"):
        return bool(_OUR_SIBLINGS.fullmatch(name))
    return kind(link) == "tun" and bool(_OUR_TAPS.fullmatch(name))


def is_loopback(link: Any) -> bool:
    return bool(link["flags"] & _IFF_LOOPBACK)


def _is_user_mode(link: Any) -> bool:
    """Return whether a link is the tap of a rootless engine: slirp4netns or pasta is behind it."""
    return kind(link) == "tun" and bool(link["flags"] & IFF_UP)


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r"(\D+)(\d*)", name)]


def _bridge_of(link: Any, links: list[Any]) -> str:
    """Return the name of the bridge that a NIC is a port of; empty if there is none."""
    master = link.get_attr("IFLA_MASTER")
    bridges = (other for other in links if other["index"] == master and kind(other) == "bridge")
    return next((bridge.get_attr("IFLA_IFNAME") for bridge in bridges), "")


def _refuse_used(link: Any, links: list[Any]) -> None:
    """Refuse a NIC whose identity another VM already has: a port of a bridge, or a redirected NIC.

    A NIC of an engine does not have both flags of a redirected NIC.
    """
    name, fault = link.get_attr("IFLA_IFNAME"), ""
    if bridge := _bridge_of(link, links):
        fault = f"{name} is already a port of the bridge {bridge}"
    elif link["flags"] & _REDIRECTED == _REDIRECTED:
        fault = f"{name} is already redirected to a VM"
    if fault:
        raise BridgeError(
            fault,
            "another VM uses this network namespace, or used it and its saved state is lost: start "
            "in a container or pod with its own network, and mount a volume at VMNET_RUN_DIR",
        )


def _require_distinct(chosen: list[Any]) -> None:
    """Refuse two NICs with the same MAC, such as a NIC and its VLAN: a guest needs two."""
    names: dict[str, str] = {}
    for link in chosen:
        name, mac = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_ADDRESS")
        if (other := names.setdefault(mac, name)) != name:
            raise CaptureError(
                f"{other} and {name} have the same MAC, {mac}",
                "give one of them another MAC, or set VMNET_INTERFACES to the guest's interfaces",
            )
