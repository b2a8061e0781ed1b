"""The layout of the host's bridge, and its configuration files for four network systems."""

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
        # networkd takes the first file that matches the NIC. In Debian's cloud images, Netplan's
        # file for `en*` comes before the file for this NIC.
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
_FREE_PART = "set it to a part that the LAN's DHCP server and hosts do not use"
# Netplan and NetworkManager refuse or warn about files that other users can read. networkd runs as
# another user, so its files must be readable.
_SECRET = ("/etc/netplan/", "/etc/NetworkManager/")
_HOST_KEYS = ("addresses", "dhcp4", "dhcp6", "routes", "gateway4", "gateway6", "nameservers")


@frozen
class _Steps:
    """The shell commands of a network system.

    :param switch: activate the new files
    :param back: return to the previous files, from any intermediate state
    :param prepare: a first command, which changes no network
    :param more: a folder whose other files are changed, too
    """

    switch: tuple[str, ...]
    back: tuple[str, ...]
    prepare: str = ""
    more: str = ""


_STEPS = {
    "ifupdown": _Steps(
        prepare="apt-get install bridge-utils",
        # ifdown reads the file at that time, so it must run before the file changes. Otherwise the
        # NIC's DHCP client would keep running.
        switch=("ifdown {nic}", "write_all", "ifup --all"),
        back=(
            "ifdown --force {bridge} || :",
            "ifdown --force {nic} || :",
            "ip link delete {bridge} 2>/dev/null || :",
            "restore_all",
            "ifup --all || :",
            "ifup {nic} || :",  # --all skips `allow-hotplug`, which Debian's installer writes
        ),
    ),
    "netplan": _Steps(  # `netplan try` can't revert a bridge's parameters, and refuses
        # Netplan merges its files, so the NIC would keep the keys of an earlier file. Remove them
        # before writing: `netplan set` fails, too, while there are two default routes.
        more="/etc/netplan",
        switch=(
            *(f"netplan set ethernets.{{escaped}}.{key}=null" for key in _HOST_KEYS),
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
        # The port activates its bridge. In the reverse order, the NIC would keep its old profile.
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

    :param mac: the MAC of the NIC and the bridge; empty if unknown. The network system then gives
        the bridge a new MAC or that of a port, and so another DHCP lease. Only ifupdown can look up
        the NIC's MAC itself.
    :param address: the static address; None for DHCP
    """

    nic: str
    bridge: str
    mac: str = ""
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None
    nameservers: tuple[IPv4Address | IPv6Address, ...] = ()

    def refuse_contradictions(self) -> None:
        """Check that the values fit together.

        :raises UsageError: they contradict each other
        """
        if self.nic == self.bridge:
            raise UsageError(
                f"--bridge {self.bridge} is the name of the NIC", "use another name, such as br0"
            )
        if self.address is None:
            if self.gateway:
                raise UsageError(
                    f"--gateway {self.gateway} is given without --address",
                    "with DHCP, the server provides the gateway; otherwise add --address",
                )
            return
        network = self.address.network
        if network.prefixlen < 31 and self.address.ip in (network[0], network[-1]):
            raise UsageError(
                f"--address {self.address} is the network's own address or its broadcast address",
                f"set the host's address, such as {network[1]}/{network.prefixlen}",
            )
        if self.gateway and (self.gateway not in network or self.gateway == self.address.ip):
            raise UsageError(
                f"--gateway {self.gateway} is not on the network of --address {self.address}",
                "check both addresses and the prefix length",
            )

    def refuse_range(self, containers: IPv4Network, taken: Mapping[str, IPv4Interface]) -> None:
        """Check a range for containers.

        :param taken: LAN addresses in use, by owner
        :raises UsageError: the range is not a part of the LAN, or contains an address in use
        """
        for owner, address in taken.items():
            if not containers.subnet_of(address.network) or containers == address.network:
                raise UsageError(
                    f"--containers {containers} is not a part of the LAN, {address.network}",
                    _FREE_PART,
                )
            if address.ip in containers:
                raise UsageError(
                    f"--containers {containers} contains {address.ip}, which is {owner}",
                    _FREE_PART,
                )


def render(layout: Layout, network_system: str) -> dict[str, str]:
    """Return a network system's files by path."""
    names = {"nic": layout.nic, "bridge": layout.bridge}
    return {
        path.format(**names): _template(template).render(layout=layout)
        for template, path in _FILES[network_system].items()
    }


def script(layout: Layout, network_system: str, docker: str) -> str:
    """Return the shell script that switches to the files, and back unless the user keeps them.

    The script works even if any of its steps breaks the user's connection.

    :param docker: the content of daemon.json; empty to leave Docker unchanged
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
        switch=[command.format(**names) for command in steps.switch],
        back=[command.format(**names) for command in steps.back],
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
        autoescape=False,  # no HTML; the command line validates names and addresses
    )
    return environment.get_template(name)


def daemon_json(layout: Layout, existing: str, containers: IPv4Network) -> str:
    """Add the bridge to Docker's configuration and keep its other settings.

    :param existing: the text of the current daemon.json, empty if there is none
    :param containers: the part of the bridge's subnet for containers. Without it, the first
        container gets the subnet's first address, usually the router's, and announces it.
    :raises UsageError: the text is not a JSON object, or sets ``bip``
    """
    try:
        document: Any = json.loads(existing or "{}")
    except ValueError as error:
        raise UsageError(f"daemon.json is not JSON: {error}", "correct it first") from None
    if not isinstance(document, dict):
        raise UsageError("daemon.json is not a JSON object", 'it must begin with "{"')
    if "bip" in document:
        raise UsageError(
            f"daemon.json sets bip={document['bip']}, which excludes a bridge of your own",
            'remove "bip": Docker uses the bridge\'s own address',
        )
    own = {"bridge": layout.bridge, "fixed-cidr": str(containers)}
    return json.dumps({**document, **own}, indent=2) + "\n"
