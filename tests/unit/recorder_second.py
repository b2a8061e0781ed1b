"""A second IPAM strategy, for tests of the order of calls."""

from __future__ import annotations

from tests.unit.recorder import record
from vmnet.hookspecs import hookimpl
from vmnet.model.delivery import Delivery
from vmnet.model.identity import Identity
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings.table import Settings


@hookimpl
def vmnet_ipam_allocate(identity: Identity) -> None:
    record("second: vmnet_ipam_allocate", identity=identity)


@hookimpl
def vmnet_ipam_release(identity: Identity) -> None:
    record("second: vmnet_ipam_release", identity=identity)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    record("second: vmnet_ipam_requirements", identity=identity)
    return Requirements(dns=True)


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    record("second: vmnet_ipam_deliver", wiring=wiring)
    return Delivery("second")
