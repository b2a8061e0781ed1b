"""Plan how programs of the container reach the guest at 127.0.0.1."""

from __future__ import annotations

import logging

from attrs import evolve

from vmnet.api import (
    LOCALHOST,
    BridgeError,
    Identity,
    Interface,
    Port,
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
    """Return the port with the address that 127.0.0.1 stands for, if the settings ask for it.

    :raises SettingsError: the guest's IPv4 address is not known
    :raises BridgeError: the setting is ``on``, and nft is missing or the kernel lacks a module
    """
    wanted = settings[LOCALHOST]
    if wanted == "off" or (wanted == "auto" and not engine.is_pod()):
        return port
    if requirements.any_address or not interface.ipv4:
        if wanted == "auto":
            return port
        raise SettingsError(
            f"{LOCALHOST.name}=on needs an IPv4 address of the guest that vmnet knows",
            "use VMNET_IPAM=dnsmasq or cloudinit on a network with IPv4, or unset VMNET_LOCALHOST",
        )
    own = addressing.link_local(interface.mac, identity, "localhost")
    served = evolve(port, localhost=StandIn(interface.ipv4[0].ip, own.ip))
    return served if _is_possible(served, wanted) else port


def _is_possible(port: Port, wanted: str) -> bool:
    from vmnet.api import localhost

    try:
        localhost.check(port)
    except BridgeError as error:
        if wanted == "on":
            raise
        _log.info("127.0.0.1 does not lead to the guest: %s", error.message)
        return False
    return True
