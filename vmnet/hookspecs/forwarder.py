"""Forwarder: answer the guest's DNS queries."""

from __future__ import annotations

from vmnet.hookspecs.markers import hookspec
from vmnet.model.delivery import Delivery
from vmnet.model.identity import Identity
from vmnet.model.wiring import Wiring
from vmnet.settings.table import Settings


@hookspec(firstresult=True)
def vmnet_forwarder(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Return the files and daemons that forward DNS.

    The daemons answer at ``wiring.nameserver`` and ``wiring.stable_nameserver``.

    Called for the strategy that ``VMNET_FORWARDER`` names, if a selected IPAM strategy requires DNS
    and ``VMNET_IPAM`` does not include the named strategy. If it does, the delivery of
    ``vmnet_ipam_deliver`` forwards DNS already.

    :return: data, as from ``vmnet_ipam_deliver``
    :raises vmnet.errors.DeliveryError: a required program is missing
    """
