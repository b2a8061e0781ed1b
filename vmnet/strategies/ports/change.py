"""Plan existing ports for interfaces whose addresses, routes or MTU change while the VM runs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import evolve

from vmnet.api import (
    FILTER,
    BridgeError,
    Identity,
    Interface,
    Local,
    Outside,
    Port,
    Redirect,
    Requirements,
    Settings,
    Wiring,
)
from vmnet.strategies.ports import own_address, senders

_REMEDY = "restart the container"


def changed(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Return the wiring with the ports that the interfaces require now.

    :raises BridgeError: a running VM can't follow the change
    """
    ports = (
        _changed(settings, interface, requirements, port)
        for interface, port in wiring.pairs(identity)
    )
    return evolve(wiring, ports=tuple(ports))


def _changed(
    settings: Settings, interface: Interface, requirements: Requirements, port: Port
) -> Port:
    new = evolve(
        port,
        mtu=interface.mtu,
        guest_addresses=tuple(own.ip for own in interface.ipv4) if requirements.dns else (),
        contain=requirements.contain and bool(interface.addresses),
        owned=senders.owned(interface, requirements),
        neighbours=interface.neighbours,
    )
    if settings[FILTER]:
        new = evolve(new, sender=senders.sender(interface, new))
    if new != port:
        _refuse_kept(port)
    return _with_way_out(interface, new)


def _refuse_kept(port: Port) -> None:
    if port.kept is not None or port.localhost:
        setting = "VMNET_KEEP_PORTS" if port.kept is not None else "VMNET_LOCALHOST"
        raise BridgeError(
            f"the rules of {setting} are for the present addresses of {port.uplink}", _REMEDY
        )


def _with_way_out(interface: Interface, port: Port) -> Port:
    """Return the port with the gateway that processes of the container use.

    :raises BridgeError: the container's own address is no longer on the interface's subnet
    """
    own = port.way_out
    if own is None or not own.candidates:
        return port
    subnets, first = [address.network for address in interface.ipv4], own.candidates[0]
    if not any(first.ip in subnet for subnet in subnets):
        raise BridgeError(f"{own.device} has an address of the subnet {first.network}", _REMEDY)
    for address in interface.ipv4:
        if address.ip in _addresses_of(own.device):
            raise BridgeError(f"{address.ip} is an address of {own.device}", _REMEDY)
    gateway = own_address.gateway_of(interface)
    if isinstance(own, Local):
        return evolve(port, local=evolve(own, gateway=gateway))
    assert isinstance(port.path, Redirect)
    outside: Outside = evolve(own, gateway=gateway)
    return evolve(port, path=evolve(port.path, outside=outside))


def _addresses_of(name: str) -> set[IPv4Address | IPv6Address]:
    """Return the addresses of a device of the container; none if it went with its NIC."""
    from vmnet.api import links, rtnl, snapshot, step

    with step("read the network"), rtnl.Rtnl() as kernel:
        if not links.exists(name):
            return set()
        index = links.index(name)
        found = snapshot.read(kernel, (rtnl.RTM_NEWADDR,))
        return {ip_address(own.address) for own in found if index in own.indices}
