"""Check that this container may create bridges, taps and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmnet.net import links, rtnl, tap
from vmnet.net.kernel_errors import step

if TYPE_CHECKING:
    from vmnet.net.filters.clsact import Step

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


def lacking_module(*, redirects: bool) -> str:
    """Attach filters to a tap and remove it; return the module that the kernel lacks, if any.

    :param redirects: also redirect frames
    :raises vmnet.errors.PrivilegeError: a capability or device is missing
    :raises vmnet.errors.BridgeError: the kernel refuses the tap or the filters
    """
    from vmnet.net.filters import clsact, matching

    chain: list[Step] = [{"start": [matching.PASS]}]
    if redirects:
        chain.append(clsact.Redirection(_TAP))
    tap.open_tap(_TAP, _FD)
    try:
        with rtnl.Rtnl() as kernel, step(f"filter {_TAP}"):
            return _attach(kernel, chain)
    finally:
        tap.close_tap((_FD,))


def _attach(kernel: rtnl.Rtnl, chain: Sequence[Step]) -> str:
    from vmnet.net.filters import clsact

    try:
        clsact.require(kernel, _TAP, {clsact.INGRESS: chain})
    except clsact.LackingModule as error:
        return str(error.strerror)
    return ""
