"""Connect containers with CNI's ptp plugin: each by its own cable to the host, a router."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .namespace import Namespace, Nic

PLUGINS = "/usr/lib/cni"
SUBNET, SUBNET6 = "10.247.0.0/24", "fd00:247::/64"
GATEWAY, GATEWAY6 = "10.247.0.1", "fd00:247::1"


def attach(
    host: Namespace,
    container: Namespace,
    store: Path,
    name: str = "eth0",
    *,
    masquerade: bool = False,
    further: Sequence[str] = (),
) -> Nic:
    """Give a container an interface with an IPv4 and an IPv6 address, and default routes.

    :param store: folder in which the IPAM plugin host-local records its allocations
    :param masquerade: whether the host masquerades the container's packets
    :param further: subnets of which the interface gets an address each, in addition
    """
    for end in (host, container):
        end.sysctl(net__ipv6__conf__all__disable_ipv6=0)
    host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    ranges = (SUBNET, SUBNET6, *further)
    result = json.loads(_call("ADD", host, container, store, name, ranges, masquerade=masquerade))
    nic = _nic(result, name)
    container.nics[name] = nic
    return nic


def detach(
    host: Namespace,
    container: Namespace,
    store: Path,
    name: str = "eth0",
    *,
    masquerade: bool = False,
) -> None:
    """Remove what :func:`attach` made, as far as the plugin finds it."""
    _call("DEL", host, container, store, name, (SUBNET, SUBNET6), masquerade=masquerade)


def _call(
    command: str,
    host: Namespace,
    container: Namespace,
    store: Path,
    name: str,
    subnets: Sequence[str],
    *,
    masquerade: bool,
) -> str:
    config = {
        "cniVersion": "1.0.0",
        "name": "ptp",
        "type": "ptp",
        "ipMasq": masquerade,
        "ipam": {
            "type": "host-local",
            "dataDir": str(store),
            "ranges": [[{"subnet": subnet}] for subnet in subnets],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }
    environ = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container.name,
        "CNI_NETNS": str(container.path),
        "CNI_IFNAME": name,
        "CNI_PATH": PLUGINS,
    }
    words = [f"{key}={value}" for key, value in environ.items()]
    return host.run("env", *words, f"{PLUGINS}/ptp", input=json.dumps(config)).stdout


def _nic(result: dict[str, Any], name: str) -> Nic:
    host_end, container_end = result["interfaces"]
    address, address6 = (ip["address"].split("/") for ip in result["ips"][:2])
    mac, port = container_end["mac"], host_end["name"]
    return Nic(name, mac, address[0], int(address[1]), address6[0], port)
