"""The CNI configurations of pod networks, as clusters have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .interface import Json

CALICO = Path(__file__).with_name("calico-like")
"""A plugin of the tests."""


def network(name: str, *plugins: Json) -> Json:
    """Return a list of plugins, which are called one after another for each interface."""
    return {"cniVersion": "1.0.0", "name": name, "plugins": list(plugins)}


def bridge(name: str, *subnets: str, default: bool = True, **settings: Any) -> Json:
    """Return a plugin that connects pods to a bridge on the node.

    :param default: whether pods have default routes through it
    """
    ipam = host_local(*subnets, default=default)
    return {"type": "bridge", "bridge": name, "isGateway": True, "ipam": ipam, **settings}


def ptp(*subnets: str, **settings: Any) -> Json:
    """Return a plugin that connects each pod to the node by a cable of its own."""
    return {"type": "ptp", "ipam": host_local(*subnets), **settings}


def macvlan(parent: str, *subnets: str) -> Json:
    """Return a plugin that gives each pod a macvlan of one of the node's interfaces."""
    return {"type": "macvlan", "master": parent, "mode": "bridge", "ipam": host_local(*subnets)}


def calico(address: str) -> Json:
    """Return a plugin that gives a pod a /32, and a gateway that answers for all addresses."""
    return {"type": CALICO.name, "address": address}


def portmap() -> Json:
    """Return a plugin that forwards the pod's host ports, to be called after another."""
    return {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}


def host_local(*subnets: str, default: bool = True) -> Json:
    """Return the plugin that allocates an address of each subnet, and records it in a file."""
    destinations = ["::/0" if ":" in subnet else "0.0.0.0/0" for subnet in subnets]
    return {
        "type": "host-local",
        "dataDir": "FOLDER/cni/networks",
        "ranges": [[{"subnet": subnet}] for subnet in subnets],
        "routes": [{"dst": destination} for destination in destinations if default],
    }
