"""What the host's bridge is to be, and the files that make it so in four network systems."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any

from attrs import frozen

from vmnet.errors import UsageError

FORMATS = ("ifupdown", "netplan", "networkd", "networkmanager")
_FILES = {
    "ifupdown": {"ifupdown.j2": "/etc/network/interfaces"},
    "netplan": {"netplan.yaml.j2": "/etc/netplan/60-{bridge}.yaml"},
    "networkd": {
        "networkd-netdev.j2": "/etc/systemd/network/10-{bridge}.netdev",
        "networkd-nic.j2": "/etc/systemd/network/10-{nic}.network",
        "networkd-bridge.j2": "/etc/systemd/network/10-{bridge}.network",
    },
    "networkmanager": {
        "nm-bridge.j2": "/etc/NetworkManager/system-connections/{bridge}.nmconnection",
        "nm-port.j2": "/etc/NetworkManager/system-connections/{bridge}-{nic}.nmconnection",
    },
}
APPLY = {
    "ifupdown": "apt-get install bridge-utils && systemctl restart networking",
    "netplan": "netplan try",
    "networkd": "systemctl restart systemd-networkd",
    "networkmanager": "nmcli connection reload && nmcli connection up {bridge}",
}


@frozen
class Layout:
    """The host's NIC in a bridge that has the host's address.

    :param mac: the NIC's, which the bridge takes too; empty leaves it to the network system
    :param address: None for DHCP
    """

    nic: str
    bridge: str
    mac: str = ""
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None
    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()


def render(layout: Layout, network_system: str) -> dict[str, str]:
    """The files of one network system, by path."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # no HTML; names and addresses are validated where they come in
    )
    names = {"nic": layout.nic, "bridge": layout.bridge}
    return {
        path.format(**names): environment.get_template(template).render(layout=layout)
        for template, path in _FILES[network_system].items()
    }


def daemon_json(layout: Layout, existing: str) -> str:
    """Docker's configuration with the bridge in it; all else in it stays.

    Docker numbers containers from the bridge's subnet, by ``fixed-cidr`` if that is set, though
    guests with NO_DHCP=true don't use that number.

    :param existing: the text of the present daemon.json, empty if there is none
    :raises UsageError: it is not a JSON object, or sets what a bridge of one's own excludes
    """
    try:
        document: Any = json.loads(existing or "{}")
    except ValueError as error:
        raise UsageError(f"daemon.json is not JSON: {error}", "mend it first") from None
    if not isinstance(document, dict):
        raise UsageError("daemon.json holds no object", 'it must begin with "{"')
    if "bip" in document:
        raise UsageError(
            f"daemon.json sets bip={document['bip']}, which excludes a bridge of your own",
            'remove "bip": the bridge\'s own address takes its place',
        )
    return json.dumps({**document, "bridge": layout.bridge}, indent=2) + "\n"
