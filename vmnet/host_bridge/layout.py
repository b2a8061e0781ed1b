"""What the host's bridge is to be, and the files that make it so in four network systems."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
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
# ifdown takes down what the file says at that time, and a client that is left would go on.
PREPARE = {"ifupdown": "apt-get install bridge-utils\nifdown {nic}"}
APPLY = {
    "ifupdown": "ifup --all",
    "netplan": "chmod 600 /etc/netplan/60-{bridge}.yaml\nnetplan try",
    "networkd": "systemctl restart systemd-networkd",
    # The port takes its bridge up; the other way round, the NIC would keep the profile it has.
    "networkmanager": "chmod 600 /etc/NetworkManager/system-connections/{bridge}*.nmconnection\n"
    "nmcli connection reload && nmcli connection up {bridge}-{nic}",
}


@frozen
class Layout:
    """The host's NIC in a bridge that has the host's address.

    :param mac: the NIC's, which the bridge has too; empty where it is not known. The host's systems
        for networks then give the bridge one of their own or that of any port, and with it another
        DHCP lease. ifupdown alone can look it up itself.
    :param address: None for DHCP
    """

    nic: str
    bridge: str
    mac: str = ""
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None
    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()

    def refuse_contradictions(self) -> None:
        """:raises UsageError: no host can be laid out like that"""
        if self.nic == self.bridge:
            raise UsageError(
                f"--bridge {self.bridge} has the name of the NIC", "name another, such as br0"
            )
        if self.address is None:
            if self.gateway:
                raise UsageError(
                    f"--gateway {self.gateway} is given without --address",
                    "with DHCP the server tells the gateway; else add --address",
                )
            return
        network = self.address.network
        if network.prefixlen < 31 and self.address.ip in (network[0], network[-1]):
            raise UsageError(
                f"--address {self.address} is that of the whole network or of its broadcasts",
                f"give the host's own, such as {network[1]}/{network.prefixlen}",
            )
        if self.gateway and (self.gateway not in network or self.gateway == self.address.ip):
            raise UsageError(
                f"--gateway {self.gateway} is no neighbour of --address {self.address}",
                "a host reaches its gateway on its own network: check both, and the prefix length",
            )


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


def daemon_json(layout: Layout, existing: str, containers: IPv4Network | None = None) -> str:
    """Docker's configuration with the bridge in it; all else in it stays.

    :param existing: the text of the present daemon.json, empty if there is none
    :param containers: from what part of the bridge's subnet Docker numbers containers, though
        guests with NO_DHCP=true don't use that number; None for all of it
    :raises UsageError: it is not a JSON object, or sets what a bridge of one's own excludes
    """
    if containers and layout.address and not containers.subnet_of(layout.address.network):
        raise UsageError(
            f"--containers {containers} is not in the subnet of --address {layout.address}",
            f"give a part of {layout.address.network}",
        )
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
    own = {"bridge": layout.bridge, **({"fixed-cidr": str(containers)} if containers else {})}
    return json.dumps({**document, **own}, indent=2) + "\n"
