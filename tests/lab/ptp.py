"""Containers as CNI's ptp plugin makes them: each has a cable of its own to the host, a router."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .namespace import Namespace, Nic

PLUGINS = "/usr/lib/cni"
SUBNET, SUBNET6 = "10.247.0.0/24", "fd00:247::/64"
GATEWAY, GATEWAY6 = "10.247.0.1", "fd00:247::1"


def attach(host: Namespace, container: Namespace, store: Path, name: str = "eth0") -> Nic:
    """Give a container an interface with an address of each family, and a default route.

    :param store: where the IPAM plugin host-local remembers what it gave
    """
    for end in (host, container):
        end.sysctl(net__ipv6__conf__all__disable_ipv6=0)
    host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    config = {
        "cniVersion": "1.0.0",
        "name": "ptp",
        "type": "ptp",
        "ipam": {
            "type": "host-local",
            "dataDir": str(store),
            "ranges": [[{"subnet": SUBNET}], [{"subnet": SUBNET6}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }
    environ = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container.name,
        "CNI_NETNS": str(container.path),
        "CNI_IFNAME": name,
        "CNI_PATH": PLUGINS,
    }
    words = [f"{key}={value}" for key, value in environ.items()]
    made = host.run("env", *words, f"{PLUGINS}/ptp", input=json.dumps(config)).json()
    nic = _nic(made, name)
    container.nics[name] = nic
    return nic


def _nic(made: dict[str, Any], name: str) -> Nic:
    port, own = made["interfaces"]
    address, address6 = (ip["address"].split("/") for ip in made["ips"])
    return Nic(name, own["mac"], address[0], int(address[1]), address6[0], port["name"])
