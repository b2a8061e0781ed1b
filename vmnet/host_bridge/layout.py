"""What the host's bridge is to be, and the files that make it so in four network systems."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

from attrs import frozen

from vmnet.errors import UsageError

FORMATS = ("ifupdown", "netplan", "networkd", "networkmanager")
_FILES = {
    "ifupdown": {"ifupdown.j2": "/etc/network/interfaces"},
    "netplan": {
        "netplan.yaml.j2": "/etc/netplan/60-{bridge}.yaml",
        # networkd takes the first file that matches the NIC. Netplan's for `en*`, as Debian's cloud
        # images have it, comes before the NIC's own.
        "networkd-nic.j2": "/etc/systemd/network/05-{nic}.network",
    },
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
DAEMON_JSON = "/etc/docker/daemon.json"
# Netplan and NetworkManager refuse, or warn of, files that others can read. networkd is an other.
_SECRET = ("/etc/netplan/", "/etc/NetworkManager/")


_OF_A_HOST = ("addresses", "dhcp4", "dhcp6", "routes", "gateway4", "gateway6", "nameservers")


@frozen
class _Steps:
    """:param prepare: a command that comes first, and changes no network
    :param switch: shell commands, from the network as it is to the new files
    :param back: shell commands from anywhere in between to the files that were there before
    :param more: a folder whose other files are changed, too
    """

    switch: tuple[str, ...]
    back: tuple[str, ...]
    prepare: str = ""
    more: str = ""


_STEPS = {
    "ifupdown": _Steps(
        prepare="apt-get install bridge-utils",
        # ifdown takes down what the file says at that time, and a client that is left would go on.
        switch=("ifdown {nic}", "write_all", "ifup --all"),
        back=(
            "ifdown --force {bridge} || :",
            "ifdown --force {nic} || :",
            "ip link delete {bridge} 2>/dev/null || :",
            "restore_all",
            "ifup --all || :",
            "ifup {nic} || :",  # --all leaves out `allow-hotplug`, which Debian's installer writes
        ),
    ),
    "netplan": _Steps(  # `netplan try` refuses bridges: it can't take their parameters back
        # Netplan merges its files, and the NIC would keep what an earlier one gives it. Not the
        # other way round: two default routes are none that it takes, from `set` either.
        more="/etc/netplan",
        switch=(
            *(f"netplan set ethernets.{{escaped}}.{key}=null" for key in _OF_A_HOST),
            "write_all",
            "netplan apply",
        ),
        back=(
            "restore_all",
            "ip link delete {bridge} 2>/dev/null || :",
            "netplan apply || :",
        ),
    ),
    "networkd": _Steps(
        switch=("write_all", "networkctl reload"),
        back=(
            "restore_all",
            "ip link delete {bridge} 2>/dev/null || :",
            "networkctl reload || :",
            "networkctl reconfigure {nic} || :",
        ),
    ),
    "networkmanager": _Steps(
        # The port takes its bridge up; the other way round, the NIC would keep the profile it has.
        switch=("write_all", "nmcli connection reload", "nmcli connection up {bridge}-{nic}"),
        back=(
            "restore_all",
            "nmcli connection reload || :",
            "ip link delete {bridge} 2>/dev/null || :",
            "nmcli device connect {nic} || :",
        ),
    ),
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

    def refuse_range(self, containers: IPv4Network, taken: Mapping[str, IPv4Interface]) -> None:
        """See that a range for containers can be free.

        :param taken: addresses of the LAN that are somebody's, by what they are
        :raises UsageError: it is not in the LAN, all of it, or holds a taken address
        """
        for what, address in taken.items():
            if not containers.subnet_of(address.network) or containers == address.network:
                raise UsageError(
                    f"--containers {containers} is no part of the LAN, {address.network}",
                    "give a part that the LAN's DHCP server and hosts leave free",
                )
            if address.ip in containers:
                raise UsageError(
                    f"--containers {containers} holds {address.ip}, which is {what}",
                    "give a part that the LAN's DHCP server and hosts leave free",
                )


def render(layout: Layout, network_system: str) -> dict[str, str]:
    """The files of one network system, by path."""
    names = {"nic": layout.nic, "bridge": layout.bridge}
    return {
        path.format(**names): _template(template).render(layout=layout)
        for template, path in _FILES[network_system].items()
    }


def script(layout: Layout, network_system: str, docker: str) -> str:
    """The shell script that writes the files, switches to them, and back unless that is kept.

    Each of its steps can be the last one that a connection lives to see.

    :param docker: the content of daemon.json; empty to leave Docker alone
    """
    escaped = layout.nic.replace(".", "\\\\.")
    names = {"nic": layout.nic, "bridge": layout.bridge, "escaped": escaped}
    steps = _STEPS[network_system]
    text: str = _template("script.j2").render(
        layout=layout,
        network_system=network_system,
        name=f"{layout.bridge}.sh",
        prepare=steps.prepare,
        files=render(layout, network_system),
        more=steps.more,
        secret=_SECRET,
        switch=[one.format(**names) for one in steps.switch],
        back=[one.format(**names) for one in steps.back],
        docker=docker,
        daemon_json=DAEMON_JSON,
    )
    return text


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # no HTML; names and addresses are validated where they come in
    )
    return environment.get_template(name)


def daemon_json(layout: Layout, existing: str, containers: IPv4Network) -> str:
    """Docker's configuration with the bridge in it; all else in it stays.

    :param existing: the text of the present daemon.json, empty if there is none
    :param containers: from what part of the bridge's subnet Docker numbers containers; without it
        the first container gets the subnet's first address, mostly the router's, and announces it
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
    own = {"bridge": layout.bridge, "fixed-cidr": str(containers)}
    return json.dumps({**document, **own}, indent=2) + "\n"
