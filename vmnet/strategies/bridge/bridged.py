"""A port that a bridge connects, with its parts."""

from __future__ import annotations

from vmnet.api import Bridge, Local, Port, Tap, frozen


@frozen
class Bridged:
    """A port of this strategy.

    :param bridge: the bridge, which is the container's own end
    :param uplink_mac: the uplink's new MAC
    """

    port: Port
    bridge: Local
    uplink_mac: str
    tap: Tap

    @classmethod
    def of(cls, port: Port) -> Bridged:
        """:raises ValueError: another strategy planned the port"""
        match port.path, port.local, port.backend:
            case Bridge(uplink_mac=mac), Local() as bridge, Tap() as tap:
                return cls(port, bridge, mac, tap)
        raise ValueError(f"{port.uplink} is not connected by a bridge")
