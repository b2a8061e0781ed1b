"""The ``bridge`` strategy: a Linux bridge and a tap for each of the container's NICs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from ipaddress import IPv4Interface

from attrs import evolve

from vmnet.api import (
    BRIDGE_ADDRESS,
    FILTER,
    KEEP_PORTS,
    Bridge,
    BridgeError,
    CaptureError,
    Identity,
    Interface,
    Local,
    Port,
    PortRange,
    Requirements,
    Resolver,
    Saved,
    Settings,
    Tap,
    Wiring,
    hookimpl,
)
from vmnet.strategies.bridge import addressing, loopback, own_address, senders

# A bridge port must carry frames of any MAC; these kinds carry only those of their own MAC.
UNBRIDGEABLE = frozenset(("macvlan", "ipvlan"))
# The first tap's descriptor, well above the descriptors inherited from an engine or a shell.
_FIRST_FD = 100


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Plan br0 and tap0 for the first interface, br1 and tap1 for the second, and so on."""
    _require_privileges()
    _refuse_unbridgeable(identity)
    return plan(settings, identity, requirements)


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan the lowest free numbers for the new interfaces."""
    _refuse_unbridgeable(identity)
    return extend(settings, identity, requirements, wiring)


def _refuse_unbridgeable(identity: Identity) -> None:
    for interface in identity.interfaces:
        if interface.kind in UNBRIDGEABLE:
            raise BridgeError(
                f"{interface.name} is a {interface.kind} interface, which can't be a port of a "
                "bridge",
                "set VMNET_BRIDGE=redirect, or leave it unset",
            )


def plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Return the plan for interfaces of any kind."""
    from vmnet.api import rtnl, snapshot, step

    _require_privileges()
    _refuse_user_mode(identity)
    with step("read the network"), rtnl.Rtnl() as kernel:
        saved = snapshot.take(kernel, [interface.name for interface in identity.interfaces])
        ports = tuple(
            _plan_port(number, interface, identity, requirements, saved[number])
            for number, interface in enumerate(identity.interfaces)
        )
    if settings[FILTER]:
        ports = tuple(
            evolve(port, sender=senders.sender(interface, port))
            for port, interface in zip(ports, identity.interfaces, strict=True)
        )
    default = _default_interface(identity)
    if settings[KEEP_PORTS]:  # their routes begin at the bridge's address
        requirements = evolve(requirements, claims=False)
    port = own_address.with_addresses(
        ports[default],
        settings[BRIDGE_ADDRESS],
        identity.interfaces[default],
        identity,
        requirements,
    )
    ports = (*ports[:default], port, *ports[default + 1 :])
    bridge = port.local
    assert bridge is not None
    if kept_ports := settings[KEEP_PORTS]:
        ports = _keep(kept_ports, ports, identity.interfaces, identity, requirements)
    port = loopback.with_localhost(
        settings, ports[default], identity.interfaces[default], identity, requirements
    )
    ports = (*ports[:default], port, *ports[default + 1 :])
    # With only a link-local address, a forwarder reaches no nameserver outside the container.
    reaches = bool(bridge.candidates) or _needs_no_network(identity.resolver)
    nameserver = bridge.address.ip if requirements.dns and reaches else None
    return Wiring(ports, contain=requirements.contain, nameserver=nameserver)


def _require_privileges() -> None:
    from vmnet.api import capabilities

    capabilities.require("NET_ADMIN", "the bridge")


def _refuse_user_mode(identity: Identity) -> None:
    """Refuse the tap of a rootless engine: its user-mode network serves only this machine."""
    for interface in identity.interfaces:
        if interface.kind == "tun":
            raise CaptureError(
                f"{interface.name} leads to a user-mode network (slirp4netns, pasta) of a rootless "
                "engine, which can't be bridged",
                "set VMNET_BRIDGE=passt, or use a network of its own: `podman network create "
                "NAME`, then `podman run --network NAME --cap-add NET_ADMIN,NET_RAW --device "
                "/dev/net/tun`",
            )


def extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Return the wiring with ports for the interfaces, of any kind, that have none."""
    from vmnet.api import rtnl, snapshot, step

    present = {port.uplink: port for port in wiring.ports}
    new = [interface for interface in identity.interfaces if interface.name not in present]
    with step("read the network"), rtnl.Rtnl() as kernel:
        saved = snapshot.take(kernel, [interface.name for interface in new])
    for number, interface, state in zip(_free_numbers(), new, saved, strict=False):
        port = _plan_port(number, interface, identity, requirements, state)
        if settings[FILTER]:
            port = evolve(port, sender=senders.sender(interface, port))
        if ranges := settings[KEEP_PORTS]:
            (port,) = _keep(ranges, (port,), (interface,), identity, requirements)
        present[interface.name] = port
    return evolve(wiring, ports=tuple(present[own.name] for own in identity.interfaces))


def _free_numbers() -> Iterator[int]:
    """Yield the numbers of which there is neither a bridge nor a tap."""
    from vmnet.api import links

    for number in itertools.count():
        if not (links.exists(f"br{number}") or links.exists(f"tap{number}")):
            yield number


@hookimpl
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import build

    build.rejoin(wiring)
    return True


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import build

    build.build(wiring)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    from vmnet.strategies.bridge import restore

    restore.restore(wiring)
    return True


def _plan_port(
    number: int, interface: Interface, identity: Identity, requirements: Requirements, saved: Saved
) -> Port:
    from vmnet.api import links

    bridge, tap = f"br{number}", f"tap{number}"
    for name in (bridge, tap):
        if links.exists(name):
            raise BridgeError(
                f"the interface {name} already exists",
                "vmnet creates it for the VM; does another VM run in this network namespace?",
            )
    return Port(
        uplink=interface.name,
        guest_mac=interface.mac,
        mtu=interface.mtu,
        saved=saved,
        backend=Tap(tap, (_FIRST_FD + number,)),
        path=Bridge(addressing.new_mac(interface.mac, "uplink")),
        local=Local(
            device=bridge,
            mac=addressing.new_mac(interface.mac, "bridge"),
            address=addressing.link_local(interface.mac, identity),
        ),
        guest_addresses=tuple(own.ip for own in interface.ipv4) if requirements.dns else (),
        # On a NIC without an address, the guest may ask a DHCP server on the network.
        contain=requirements.contain and bool(interface.addresses),
        owned=senders.owned(interface, requirements),
        neighbours=interface.neighbours,
    )


def _keep(
    ranges: tuple[PortRange, ...],
    ports: tuple[Port, ...],
    interfaces: tuple[Interface, ...],
    identity: Identity,
    requirements: Requirements,
) -> tuple[Port, ...]:
    """Return the interfaces' ports with what the container keeps, if the kernel accepts this."""
    from vmnet.api import kept_ports
    from vmnet.strategies.bridge import kept

    kept.require(ranges, identity, requirements)
    keeping = tuple(
        evolve(port, kept=kept.kept(ranges, interface, _link_local(port), identity))
        for port, interface in zip(ports, interfaces, strict=True)
    )
    kept_ports.check(keeping)
    return keeping


def _link_local(port: Port) -> IPv4Interface:
    assert port.local is not None
    return port.local.addresses[-1]


def _default_interface(identity: Identity) -> int:
    """Return the position of the interface with the preferred IPv4 default route.

    Without such a route, return that of the first interface with an IPv4 address, or else 0.
    """

    def rank(position: int) -> tuple[bool, int, bool]:
        interface = identity.interfaces[position]
        route = interface.default_route(4)
        return route is None, route.metric if route else 0, not interface.ipv4

    return min(range(len(identity.interfaces)), key=rank)


def _needs_no_network(resolver: Resolver) -> bool:
    return resolver.is_local or not resolver.nameservers
