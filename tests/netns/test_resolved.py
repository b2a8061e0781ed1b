"""Guests with systemd-resolved resolve the single-label names of other containers.

systemd-resolved asks DNS for no single-label name, so the guest must know its network's domain.
Debian's own programs run in a namespace that is the guest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import yaml

from tests.lab.command import Process, run
from tests.lab.images.debian_host import DebianHost, debian_host
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.netns.test_names import OWN_NETWORK, engine

pytestmark = pytest.mark.long  # a Debian host of its own for each test

# networkd's folders must exist before resolved watches them.
_RESOLVED = """\
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
install -d -o systemd-network -g systemd-network \
    /run/systemd/netif /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
install -d -o systemd-resolve -g systemd-resolve /run/systemd/resolve
exec /usr/lib/systemd/systemd-resolved
"""
_NETWORKD = "/usr/lib/systemd/systemd-networkd"
# Debian's cloud images do this; by default, networkd ignores domains from DHCP.
_NETPLAN = """\
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp4-overrides: {use-domains: true}
"""
_NETWORK_MANAGER = """\
[connection]
id=wired
type=ethernet
interface-name=eth0
[ipv4]
method=auto
"""


@contextmanager
def _resolved(host: DebianHost) -> Iterator[Process]:
    """Start the resolver and wait until it serves, before any daemon sends it nameservers."""
    with host.daemon("sh", "-ec", _RESOLVED) as process:

        def serves() -> bool:
            process.require_running()
            return host.path("/run/systemd/resolve/stub-resolv.conf").exists()

        until(serves, WAIT, "systemd-resolved", detail=process.output)
        yield process


@contextmanager
def _networkd(host: DebianHost, vmnet: Vmnet) -> Iterator[Process]:
    host.write("/etc/netplan/90-default.yaml", _NETPLAN, 0o600)
    host.run("netplan", "generate")
    with host.daemon(_NETWORKD) as process:
        yield process


@contextmanager
def _cloud_init(host: DebianHost, vmnet: Vmnet) -> Iterator[Process]:
    """Configure the seed's network with netplan, as cloud-init does."""
    text = run("isoinfo", "-R", "-x", "/network-config", "-i", vmnet.run_dir / "seed.iso").stdout
    config = yaml.safe_load(text)
    for ethernet in config["ethernets"].values():
        del ethernet["match"]  # it matches a permanent MAC, which only hardware has
    host.write("/etc/netplan/50-cloud-init.yaml", yaml.safe_dump({"network": config}), 0o600)
    host.run("netplan", "generate")
    with host.daemon(_NETWORKD) as process:
        yield process


@contextmanager
def _network_manager(host: DebianHost, vmnet: Vmnet) -> Iterator[Process]:
    path = "/etc/NetworkManager/system-connections/wired.nmconnection"
    host.write(path, _NETWORK_MANAGER, 0o600)
    with host.daemon("NetworkManager", "--no-daemon", "--log-level=INFO") as process:
        yield process


@contextmanager
def _ifupdown(host: DebianHost, vmnet: Vmnet) -> Iterator[Process]:
    host.write("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n")
    with host.daemon("sh", "-c", "ifup --verbose eth0; sleep 600") as process:
        yield process


@pytest.mark.parametrize(
    ("strategy", "network_system"),
    [
        ("dnsmasq", _networkd),
        ("dnsmasq", _network_manager),
        ("dnsmasq", _ifupdown),
        ("cloudinit", _cloud_init),
    ],
    ids=["networkd", "NetworkManager", "ifupdown", "cloud-init"],
)
def test_a_single_label_name(
    strategy: str,
    network_system: Callable[[DebianHost, Vmnet], AbstractContextManager[Process]],
    network: Lan,
    vmnet: Vmnet,
) -> None:
    hosts = "172.30.1.66\tdatabase\n"
    web = network.container("web", ipv6=True, resolv_conf=OWN_NETWORK, hosts=hosts)
    names = {"db.lab": ("172.30.1.77", "fd00:30:1::77")}
    with (
        engine(web, {web.address: "lab"}, names),
        vmnet.running(web, VMNET_IPAM=strategy),
        guest(web, "br0", web.mac) as vm,
        debian_host(vm) as host,
        _resolved(host) as resolved,
        network_system(host, vmnet) as process,
    ):

        def ask(*question: str) -> str:
            return host.run("sh", "-c", f"{' '.join(question)} 2>&1 || true").stdout

        def found() -> bool:
            return "172.30.1.77" in ask("resolvectl", "query", "db")

        def detail() -> str:
            return f"{process.output()}\n{resolved.output()}\n{ask('resolvectl')}"

        until(found, WAIT, "the name of another container", interval=0.5, detail=detail)
        assert "fd00:30:1::77" in ask("resolvectl", "query", "-6", "db")
        assert "172.30.1.77" in ask("getent", "-A", "ahosts", "db")
        if strategy == "dnsmasq":  # cloud-init writes links to the hosts file
            assert "172.30.1.66" in ask("resolvectl", "query", "database")
