"""Words for a port: the back end of the guest's NIC, and the path to the uplink."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.model.wiring import Bridge, Custom, Outside, Port, Redirect, Tap, UserMode


def backend(port: Port) -> str:
    """Return the tap's name or the socket's path."""
    match port.backend:
        case Tap(name=name):
            return name
        case stream:
            return str(stream.path)


def uplink(port: Port) -> str:
    """Return the uplink, and what connects it."""
    match port.path:
        case Bridge(uplink_mac=mac):
            return f"{port.uplink} {mac}"
        case Redirect():
            return f"{port.uplink} by redirection"
        case UserMode(program=program):
            return f"{port.uplink} by {program}"
        case Custom(description=description):
            return f"{port.uplink} by {description}"


def addresses(port: Port) -> str:
    """Return the addresses of the container's own end, and what it takes after the start."""
    if port.local is None:
        return ""
    own = [str(address) for address in port.local.addresses]
    later = port.local.spares if port.local.link_local is None else ()
    return " ".join(own) + (f", then {later[0]} or another free address" if later else "")


def further(port: Port) -> Iterator[str]:
    """Yield what the container has on the guest's network in addition to its own end."""
    match port.path:
        case Redirect(outside=Outside(device=device, mac=mac) as outside):
            own = str(outside.address or f"{outside.spares[0]} or another free address")
            yield f"{device} {mac} {own}: the container's way to the network of {port.uplink}"
    if port.kept is not None:
        yield f"the container keeps {port.kept}: the guest can't serve these ports on {port.uplink}"
    if port.localhost:
        addresses = " and ".join(str(each.loopback) for each in port.localhost)
        yield f"{addresses} in the container: the guest, where nothing in the container listens"


def own_end(port: Port) -> str:
    """Return the container's own end with its address, or else the uplink."""
    return f"{port.local.device} {port.local.address}" if port.local else uplink(port)
