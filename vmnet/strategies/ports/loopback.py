"""Plan how programs of the container reach the guest at 127.0.0.1 and ::1."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from attrs import evolve

from vmnet.api import (
    LOCALHOST,
    BridgeError,
    Identity,
    Interface,
    Port,
    Redirect,
    Requirements,
    Settings,
    SettingsError,
    StandIn,
    engine,
)
from vmnet.strategies.ports import addressing

_log = logging.getLogger(__name__)


def with_localhost(
    settings: Settings,
    port: Port,
    interface: Interface,
    identity: Identity,
    requirements: Requirements,
) -> Port:
    """Return the port with the addresses that 127.0.0.1 and ::1 stand for, if the settings ask for
    it.

    :raises SettingsError: no address of the guest is known
    :raises BridgeError: the setting is ``on``, and nft is missing or the kernel lacks a module
    """
    wanted = settings[LOCALHOST]
    if wanted == "off" or (wanted == "auto" and not engine.is_pod()):
        return port
    stand_ins = tuple(_stand_ins(port, interface, identity))
    if requirements.any_address or not stand_ins:
        if wanted == "auto":
            return port
        raise SettingsError(
            f"{LOCALHOST.name}=on needs an address of the guest that vmnet knows",
            "use VMNET_IPAM=dnsmasq or cloudinit on a network with IPv4, or unset VMNET_LOCALHOST",
        )
    served = evolve(port, localhost=stand_ins)
    if not _is_possible(served, wanted):
        return port
    _log_reached(stand_ins, has_route=interface.default_route(4) is not None)
    return served


def _stand_ins(port: Port, interface: Interface, identity: Identity) -> Iterator[StandIn]:
    """Yield the first address of each family, if the container can reach it on its own end.

    An ipvlan interface keeps its IPv6 addresses, so they are the container's.
    """
    from vmnet.api import links

    if interface.ipv4:
        own = addressing.link_local(interface.mac, identity, "localhost")
        yield StandIn(interface.ipv4[0].ip, own.ip)
    keeps_ipv6 = isinstance(port.path, Redirect) and port.path.shares_mac
    if not interface.ipv6 or keeps_ipv6:
        return
    if links.has_ipv6("default"):
        mac = addressing.new_mac(interface.mac, "localhost")
        yield StandIn(interface.ipv6[0].ip, addressing.ipv6_link_local(mac))
    else:
        hint = "run the container with `--sysctl net.ipv6.conf.default.disable_ipv6=0`"
        _log.warning(
            "::1 in the container does not lead to the guest, because IPv6 is disabled on new "
            "interfaces",
            extra={"event": "localhost.unavailable", "hint": hint},
        )


def _log_reached(stand_ins: tuple[StandIn, ...], *, has_route: bool) -> None:
    """Log which addresses lead to the guest.

    :param has_route: the guest gets an IPv4 default route, by which its answers come back
    """
    reached = [each.loopback for each in stand_ins if has_route or each.loopback.version == 6]
    if reached:
        _log.info(
            "%s in the container: the guest, where nothing in the container listens",
            " and ".join(map(str, reached)),
            extra={"event": "localhost.guest"},
        )
    if len(reached) < len(stand_ins):
        _log.warning(
            "127.0.0.1 in the container does not lead to the guest, because it gets no IPv4 "
            "default route for its answers",
            extra={"event": "localhost.unavailable", "hint": "give the network a gateway"},
        )


def _is_possible(port: Port, wanted: str) -> bool:
    from vmnet.api import localhost

    try:
        localhost.check(port)
    except BridgeError as error:
        if wanted == "on":
            raise
        _log.info(
            "127.0.0.1 does not lead to the guest: %s",
            error.message,
            extra={"event": "localhost.unavailable"},
        )
        return False
    return True
