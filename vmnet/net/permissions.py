"""Check that this container may create bridges and taps."""

from __future__ import annotations

from vmnet.net import links, rtnl, tap
from vmnet.net.kernel_errors import step

_BRIDGE, _TAP, _FD = "vmnet-check-br", "vmnet-check-tap", 199


def require_bridge_and_tap() -> None:
    """Create a tap and a bridge, and remove both.

    :raises vmnet.errors.PrivilegeError: a capability or device is missing
    :raises vmnet.errors.BridgeError: the kernel cannot create them
    """
    tap.open_tap(_TAP, _FD)
    tap.close_tap((_FD,))
    with rtnl.Rtnl() as kernel, step("create a bridge"):
        links.add_bridge(kernel, _BRIDGE, "06:00:00:00:00:01", 1500)
        links.delete(kernel, _BRIDGE)
