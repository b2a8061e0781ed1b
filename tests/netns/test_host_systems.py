"""What ``vmnet host-bridge`` writes makes the bridge, by each system that configures networks.

They run for real, as Debian has them, in a namespace that is the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.lab.debian_host import DebianHost, debian_host
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.lab.services import dnsmasq
from tests.lab.wait import until
from tests.netns.conftest import Vmnet
from vmnet.host_bridge.layout import APPLY, FORMATS, PREPARE

NIC, BRIDGE = "enx0242ac1e0102", "vm_lan.host-0"  # as long, and with all that names may have
NAMES = ("--nic", NIC, "--bridge", BRIDGE)
LEASED, STATIC = "172.30.1.150/24", "172.30.1.77/24"
LOWEST = "02:00:00:00:00:01"
_NETWORKD = """\
install -d -o systemd-network -g systemd-network \
    /run/systemd/netif /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
exec /usr/lib/systemd/systemd-networkd
"""
_NETWORK_MANAGER = """\
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
exec NetworkManager --no-daemon --log-level=INFO
"""


@pytest.fixture
def machine(network: Lan) -> Namespace:
    """A host whose NIC nobody has configured yet."""
    made = network.station("machine")
    made.ip("address", "flush", "dev", "eth0")
    made.ip("link", "set", "eth0", "down")
    made.ip("link", "set", "eth0", "name", NIC)
    return made


# As an installer leaves the host: the NIC asks for its address itself.
_INSTALLED = {
    "ifupdown": (
        "/etc/network/interfaces",
        f"auto lo\niface lo inet loopback\nauto {NIC}\niface {NIC} inet dhcp\n",
    ),
    "netplan": (
        "/etc/netplan/50-cloud-init.yaml",
        f"network: {{version: 2, ethernets: {{{NIC}: {{dhcp4: true}}}}}}\n",
    ),
    "networkd": (
        "/etc/systemd/network/50-wired.network",
        f"[Match]\nName={NIC}\n[Network]\nDHCP=yes\n",
    ),
    "networkmanager": (
        "/etc/NetworkManager/system-connections/wired.nmconnection",
        f"[connection]\nid=wired\ntype=ethernet\ninterface-name={NIC}\n[ipv4]\nmethod=auto\n",
    ),
}


def write(host: DebianHost, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        host.write(path, text, 0o644 if path.startswith("/etc/systemd/") else 0o600)


def commands(lines: str) -> str:
    """What ``vmnet host-bridge`` advises, where the packages are there already."""
    kept = [one for one in lines.splitlines() if not one.startswith("apt-get ")]
    return "\n".join(kept).format(nic=NIC, bridge=BRIDGE)


@contextmanager
def moved(
    host: DebianHost, network_system: str, has_address: Callable[[], bool], files: Mapping[str, str]
) -> Iterator[Callable[[], str]]:
    """The host as installed, and then as the files say; yields what its daemon tells."""
    if network_system == "ifupdown":
        host.run("ifup", "--all")
        assert has_address()
        host.run("sh", "-ec", commands(PREPARE[network_system]))
        write(host, files)
        assert host.run("ifquery", "--all", "--list").stdout.split() == ["lo", NIC, BRIDGE]
        host.run("sh", "-ec", commands(APPLY[network_system]))
        yield str
    elif network_system == "networkmanager":
        with host.daemon("sh", "-ec", _NETWORK_MANAGER) as process:
            until(has_address, 60, "the host as installed", detail=process.output)
            write(host, files)
            host.run("sh", "-ec", commands(APPLY[network_system]))
            yield process.output
    else:
        # In place of what netplan and systemctl do, which ask an init to restart the daemon.
        generate = ("netplan", "generate") if network_system == "netplan" else ("true",)
        host.run(*generate)
        with host.daemon("sh", "-ec", _NETWORKD) as process:
            until(has_address, 60, "the host as installed", detail=process.output)
        write(host, files)
        host.run(*generate)
        with host.daemon("sh", "-ec", _NETWORKD) as process:
            yield process.output


@pytest.mark.parametrize("address", [LEASED, STATIC], ids=["dhcp", "static"])
@pytest.mark.parametrize("network_system", FORMATS)
def test_the_host_moves_to_its_bridge(
    network_system: str, address: str, network: Lan, machine: Namespace, vmnet: Vmnet
) -> None:
    """The bridge has the NIC's MAC, and keeps it and its address when containers come."""
    given = ("--dhcp-range=172.30.1.150,172.30.1.150,2m", f"--interface={network.bridge}")
    static = ("--address", address, "--gateway", network.gateway, "--nameserver", network.gateway)
    own = (*NAMES, *(static if address == STATIC else ()))
    absent = ("--daemon-json", "/nonexistent")
    written = vmnet(machine, "host-bridge", *own, *absent, "--format", network_system, "--json")
    assert written.stderr == ""

    def has_address() -> bool:
        return LEASED.split("/")[0] in [one["local"] for one in machine.addresses(NIC)]

    def findings() -> list[dict[str, str]]:
        asked = ("host-bridge", "--check", "--json", *NAMES, "--address", address)
        found: list[dict[str, str]] = vmnet(machine, *asked).json()
        return [one for one in found if one["what"] not in ("docker", "iptables")]

    def is_right() -> bool:
        found = findings()
        return len(found) == 4 and all(one["result"] == "ok" for one in found)

    with (
        dnsmasq(network.host, *given, "--no-ping", port=0),
        debian_host(machine) as host,
    ):
        write(host, dict([_INSTALLED[network_system]]))
        with moved(host, network_system, has_address, written.json()) as output:

            def look() -> str:
                return f"{findings()}\n{output()}"

            until(is_right, 60, "the host to have its bridge", interval=0.5, detail=look)
            gateways = [one.get("gateway") for one in machine.routes() if one["dst"] == "default"]
            assert gateways == [network.gateway]
            machine.run("ping", "-c1", "-W5", network.gateway)

            machine.ip("link", "add", "container0", "address", LOWEST, "type", "veth")
            machine.ip("link", "set", "container0", "master", BRIDGE, "up")
            assert is_right(), look()
            said = output().lower().replace("serviceunknown", "")
            assert "unknown" not in said, said
            assert "failed to parse" not in said, said
