"""The CNI configurations of pod networks, as clusters have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .interface import Json

CALICO = Path(__file__).with_name("calico-like")
"""A plugin of the tests."""

_DEFAULT = [{"dst": "0.0.0.0/0"}]


def network(name: str, *plugins: Json) -> Json:
    """Return a list of plugins, which are called one after another for each interface."""
    return {"cniVersion": "1.0.0", "name": name, "plugins": list(plugins)}


def bridge(name: str, subnet: str, **settings: Any) -> Json:
    """Return a plugin that connects pods to a bridge on the node."""
    plugin = {"type": "bridge", "bridge": name, "isGateway": True, "ipam": host_local(subnet)}
    return {**plugin, **settings}


def ptp(subnet: str, **settings: Any) -> Json:
    """Return a plugin that connects each pod to the node by a cable of its own."""
    return {"type": "ptp", "ipam": host_local(subnet), **settings}


def macvlan(parent: str, subnet: str) -> Json:
    """Return a plugin that gives each pod a macvlan of one of the node's interfaces."""
    return {"type": "macvlan", "master": parent, "mode": "bridge", "ipam": host_local(subnet)}


def calico(address: str) -> Json:
    """Return a plugin that gives a pod a /32, and a gateway that answers for all addresses."""
    return {"type": CALICO.name, "address": address}


def portmap() -> Json:
    """Return a plugin that forwards the pod's host ports, to be called after another."""
    return {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}


def host_local(subnet: str, *, default: bool = True) -> Json:
    """Return the plugin that allocates addresses of a subnet, and records them in files."""
    return {
        "type": "host-local",
        "dataDir": "FOLDER/cni/networks",
        "ranges": [[{"subnet": subnet}]],
        "routes": _DEFAULT if default else [],
    }
