"""A redirected port, with its parts."""

from __future__ import annotations

from vmnet.api import Local, Port, Redirect, Tap, frozen


@frozen
class Ends:
    """A port of this strategy.

    :param own: the tap as the container's own end
    """

    port: Port
    path: Redirect
    own: Local
    tap: Tap

    @classmethod
    def of(cls, port: Port) -> Ends:
        """:raises ValueError: another strategy planned the port"""
        match port.path, port.local, port.backend:
            case Redirect() as path, Local() as own, Tap() as tap:
                return cls(port, path, own, tap)
        raise ValueError(f"{port.uplink} is not redirected")
