"""The ``bridge`` strategy: a Linux bridge and a tap for each of the container's NICs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address

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
    Sender,
    Settings,
    SettingsError,
    Tap,
    Wiring,
    hookimpl,
)
from vmnet.strategies.bridge import addressing, loopback

# A bridge port must carry frames of any MAC; these kinds carry only those of their own MAC.
UNBRIDGEABLE = frozenset(("macvlan", "ipvlan"))
# The first tap's descriptor, well above the descriptors inherited from an engine or a shell.
_FIRST_FD = 100
# A filter has at most 4096 instructions, enough for about 220 IPv6 addresses.
_MAX_ADDRESSES = 200
_SPARES = 8  # replacements for a bridge's address
_log = logging.getLogger(__name__)


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
            evolve(port, sender=_sender(interface, port))
            for port, interface in zip(ports, identity.interfaces, strict=True)
        )
    default = _default_interface(identity)
    if settings[KEEP_PORTS]:  # their routes begin at the bridge's address
        requirements = evolve(requirements, claims=False)
    port = _with_addresses(
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
            port = evolve(port, sender=_sender(interface, port))
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
        owned=_owned(interface, requirements),
        neighbours=interface.neighbours,
    )


def _with_addresses(
    port: Port,
    setting: str | IPv4Interface,
    interface: Interface,
    identity: Identity,
    requirements: Requirements,
) -> Port:
    """Return the port with an address of the subnet, its replacements, and the way out.

    Return it unchanged if a link-local address is enough. An address from the user has no
    replacements.

    :param setting: VMNET_BRIDGE_ADDRESS
    """
    bridge = port.local
    assert bridge is not None
    if isinstance(setting, IPv4Interface):
        _require_free(setting, identity)
        own = evolve(bridge, address=setting, link_local=bridge.address)
    elif setting == "spare" or (setting == "auto" and requirements.dns):
        candidates = addressing.spare_candidates(interface, identity)
        own = _with_spares(bridge, candidates, interface.name, later=requirements.claims)
    else:
        return port
    return evolve(port, local=evolve(own, gateway=_gateway(interface) if own.candidates else None))


def _with_spares(
    bridge: Local, candidates: tuple[IPv4Interface, ...], uplink: str, *, later: bool
) -> Local:
    """Return the bridge with a free address and its replacements, or with the candidates.

    :param later: a daemon finds a free candidate, after the start
    """
    from vmnet.api import arp, capabilities, step

    if not candidates:
        return bridge
    if later:
        if not capabilities.has("NET_RAW"):
            raise arp.forbidden(uplink)
        return evolve(bridge, spares=candidates)
    with step(f"look for a free address on {uplink}"):
        free = arp.first_free(uplink, [candidate.ip for candidate in candidates])
    remaining = itertools.dropwhile(lambda candidate: candidate.ip != free, candidates)
    if not (found := tuple(itertools.islice(remaining, 1 + _SPARES))):
        return bridge
    return evolve(bridge, address=found[0], link_local=bridge.address, spares=found[1:])


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


def _owned(
    interface: Interface, requirements: Requirements
) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the interface's addresses, unless the guest may have other addresses."""
    if requirements.any_address:
        return ()
    if len(interface.addresses) > _MAX_ADDRESSES:
        _log.warning(
            "%s has more than %d addresses, so the guest may send from any address",
            interface.name,
            _MAX_ADDRESSES,
        )
        return ()
    return tuple(own.ip for own in interface.addresses)


def _sender(interface: Interface, port: Port) -> Sender:
    """Return the source addresses that the guest may use: any address, if none is known."""
    router = interface.router
    gateways = (route.gateway for route in interface.routes_of(6))
    known = (*gateways, *((router.address, router.gateway) if router else ()))
    routers = dict.fromkeys(
        address for address in known if isinstance(address, IPv6Address) and address.is_link_local
    )
    return Sender(port.owned or None, tuple(routers))


def _default_interface(identity: Identity) -> int:
    """Return the position of the interface with the preferred IPv4 default route.

    Without such a route, return that of the first interface with an IPv4 address, or else 0.
    """

    def rank(position: int) -> tuple[bool, int, bool]:
        interface = identity.interfaces[position]
        route = interface.default_route(4)
        return route is None, route.metric if route else 0, not interface.ipv4

    return min(range(len(identity.interfaces)), key=rank)


def _require_free(address: IPv4Interface, identity: Identity) -> None:
    for interface in identity.interfaces:
        gateways = {route.gateway for route in interface.routes}
        if address.ip in {own.ip for own in interface.ipv4} | gateways:
            owner = "a gateway" if address.ip in gateways else "the guest"
            raise SettingsError(
                f"{BRIDGE_ADDRESS.name}={address} is an address of {owner} on {interface.name}",
                "choose a free address of the subnet, or VMNET_BRIDGE_ADDRESS=spare",
            )


def _needs_no_network(resolver: Resolver) -> bool:
    return resolver.is_local or not resolver.nameservers


def _gateway(interface: Interface) -> IPv4Address | None:
    route = interface.default_route(4)
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None
