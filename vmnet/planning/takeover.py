"""The consequences for the container if the guest takes its NICs over.

With a bridge strategy that leaves the network as it is, there are none: programs of the container
keep the network, and its routing applies to the guest's connections as well.
"""

from __future__ import annotations

import logging

from attrs import evolve

from vmnet import engine
from vmnet.errors import CaptureError
from vmnet.model.identity import Identity
from vmnet.model.wiring import Wiring
from vmnet.settings.core import HOST_NETWORK, KEEP_PORTS, LOST_ROUTES
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)


def examine(settings: Settings, identity: Identity, wiring: Wiring) -> Identity:
    """Return the identity with what the wiring does not carry, and log it.

    :raises CaptureError: the guest would bypass a route of the container
    """
    if not wiring.takes_uplinks:
        return evolve(identity, not_carried=())
    if settings[HOST_NETWORK] != "take" and settings[LOST_ROUTES] != "accept":
        _refuse_bypass(identity)
    _warn_about_listeners(settings, identity)
    for line in identity.not_carried:
        _log.warning("not carried: %s", line, extra={"event": "identity.not_carried"})
    return identity


def _refuse_bypass(identity: Identity) -> None:
    if not identity.bypassed:
        return
    first, *rest = identity.bypassed
    more = f" (and {len(rest)} more)" if rest else ""
    names = ", ".join(interface.name for interface in identity.interfaces)
    raise CaptureError(
        f"the guest can't have {first}{more}, and would send this traffic through {names}",
        f"run the VM in a network whose gateway has {first.interface}, or accept this with "
        "VMNET_LOST_ROUTES=accept",
    )


def _warn_about_listeners(settings: Settings, identity: Identity) -> None:
    """Warn about programs that the start cuts off, such as the sidecars of a pod."""
    kept = settings[KEEP_PORTS] or ()
    cut_off = [
        own
        for own in identity.listening
        if not any(own.protocol == each.protocol and own.first in each for each in kept)
    ]
    if not cut_off:
        return
    ports = ",".join(map(str, cut_off))
    _log.warning(
        "other programs listen in this network namespace (%s): while the VM runs, the guest "
        "has the addresses of %s, and these programs have no network there",
        ", ".join(f"{own.protocol.upper()} port {own.first}" for own in cut_off),
        ", ".join(interface.name for interface in identity.interfaces),
        extra={
            "event": "network.shared",
            "hint": "to keep them reachable from the network, set "
            + engine.assignment("VMNET_KEEP_PORTS", ports),
        },
    )
