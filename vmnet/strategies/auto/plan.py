"""The ``auto`` strategy: delegates each port to ``bridge`` or ``redirect``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from attrs import evolve

from vmnet.api import (
    Bridge,
    Identity,
    Interface,
    Redirect,
    Requirements,
    Setting,
    Settings,
    Wiring,
    hookimpl,
)
from vmnet.strategies.bridge import plan as bridge
from vmnet.strategies.ports import plan
from vmnet.strategies.ports.method import Method
from vmnet.strategies.redirect import plan as redirect

_log = logging.getLogger(__name__)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return plan.SETTINGS


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    """Plan a bridge for each interface, or a redirection if its kind cannot be bridged."""
    chosen = [own for own in identity.interfaces if own.kind in bridge.UNBRIDGEABLE]
    wiring = plan.plan(settings, identity, requirements, _choose)
    for own in chosen:
        _log.info(
            "%s is a %s interface: VMNET_BRIDGE=redirect applies to it",
            own.name,
            own.kind,
            extra={"event": "strategy.chosen"},
        )
    return wiring


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    """Plan a bridge for each new interface, or a redirection if its kind cannot be bridged."""
    return plan.extend(settings, identity, requirements, wiring, _choose)


def _choose(interface: Interface) -> Method:
    return redirect.METHOD if interface.kind in bridge.UNBRIDGEABLE else bridge.METHOD


@hookimpl
def vmnet_bridge_change(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    return bridge.vmnet_bridge_change(settings, identity, requirements, wiring)


@hookimpl
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    if bridged := _only(wiring, Bridge):
        bridge.vmnet_bridge_rejoin(settings, bridged)
    if redirected := _only(wiring, Redirect):
        redirect.vmnet_bridge_rejoin(settings, redirected)
    return True


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    if bridged := _only(wiring, Bridge):
        bridge.vmnet_bridge_build(settings, bridged)
    if redirected := _only(wiring, Redirect):
        redirect.vmnet_bridge_build(settings, redirected)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    with ExitStack() as each:  # an error with some ports must not keep the others from a restore
        if bridged := _only(wiring, Bridge):
            each.callback(bridge.vmnet_bridge_restore, settings, bridged)
        if redirected := _only(wiring, Redirect):
            each.callback(redirect.vmnet_bridge_restore, settings, redirected)
    return True


def _only(wiring: Wiring, path: type[Bridge | Redirect]) -> Wiring | None:
    """Return the wiring with only the ports of a type, or None if there is none."""
    ports = tuple(port for port in wiring.ports if isinstance(port.path, path))
    return evolve(wiring, ports=ports) if ports else None
