"""A Debian guest with cloud-init gets the container's identity from the seed alone."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from typing import Any

import pytest

from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.pinging import await_answer
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.vm.debian_guest import DebianGuest, Shell, booted, debian_guest

pytestmark = [pytest.mark.vm, pytest.mark.long]

_NETWORKD = "cc:{system_info: {network: {renderers: [networkd]}}} end_cc"

_USER_DATA = """\
#cloud-config
manage_etc_hosts: true
write_files:
- path: /root/from-user
  content: "the user's own\\n"
"""
_VENDOR_DATA = """\
#!/bin/sh
echo "grüße" >/root/from-vendor
"""
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGR4dmF1bHQga2V5IG9mIGEgdGVzdA user@host"
_HASH = "$6$salt$Tc3eT6Y1xn/SuOrKFyOXuFkX3hO2K3UPRX8xUOPWdYvj8fWUBqxZ0vLb9P"
_CONFIG = (
    "cloud-config",
    '#cloud-config\nwrite_files: [{path: /root/from-config, content: "a part of its own\\n"}]\n',
)
_SCRIPT = """\
#!/bin/sh
echo ran >/root/from-user
"""


def _routes(guest: Shell) -> set[str]:
    """Return each route in the words of ``ip route``, without interface and protocol."""
    found = guest.json("ip -j -4 route") + guest.json("ip -j -6 route")
    return {" ".join(_words(route)) for route in found if route["protocol"] != "kernel"}


def _await_routes(guest: Shell, routes: set[str]) -> None:
    """Await exactly these routes, which networkd sets after the addresses."""
    differing = lambda: str(_routes(guest) ^ routes)  # noqa: E731
    until(lambda: _routes(guest) == routes, WAIT, "the routes", interval=1, detail=differing)


def _words(route: Mapping[str, Any]) -> Iterator[str]:
    yield route["dst"]
    names = {"gateway": "via", "scope": "scope", "prefsrc": "src", "metric": "metric"}
    for key, word in names.items():
        if key in route:
            yield f"{word} {route[key]}"
    for metrics in route.get("metrics", ()):
        yield f"mtu {metrics['mtu']}"


@pytest.fixture(scope="module")
def debian() -> DebianGuest:
    return debian_guest()


@pytest.fixture
def network() -> Iterator[Lan]:
    with lan(ipv6=True) as made:
        yield made


@contextmanager
def content(container: Namespace, folder: Path, settings: Mapping[str, str]) -> Iterator[Shell]:
    """Boot a guest, and yield its shell after cloud-init has applied the seed without an error."""
    with booted(container, folder, settings) as guest:
        status = guest.json("cloud-init status --format json")
        assert (status["status"], status["extended_status"]) == ("done", "done"), status
        assert (status["errors"], status["recoverable_errors"]) == ([], {}), status
        assert status["detail"].startswith("DataSourceNoCloud [seed=/dev/sr0]")
        yield guest


def test_the_whole_identity(network: Lan, debian: DebianGuest, tmp_path: Path) -> None:
    """Two NICs, both families, a resolver on loopback and links, without DHCP; uses netplan."""
    with lan(2, host=network.host, mtu=1450) as second:
        web = network.container(
            "web",
            ipv6=True,
            hostname="web",
            domainname="example.org",
            extra=("172.30.1.200/24",),
            routes=(
                "10.1.0.0/16 via 172.30.1.1 metric 50",
                "10.2.0.0/16 dev eth0 scope link",
                "10.3.0.0/16 via 172.30.1.1 src 172.30.1.200 mtu 1400",
                "fd00:98::/64 dev eth0",
                "fd00:99::/64 via fd00:30:1::1",
            ),
            resolv_conf="nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n",
            hosts="127.0.0.1\tlocalhost\n172.30.1.2\tweb\n172.30.1.9\tdb database\n",
        )
        second.attach(web, "eth1", gateway=False)
        settings = {
            "VMNET_IPAM": "cloudinit",
            "VMNET_NTP": network.gateway,
            "VMNET_USER_DATA": _USER_DATA,
            "VMNET_VENDOR_DATA": _VENDOR_DATA,
            "VMNET_SSH_KEY": _KEY,
            "VMNET_PASSWORD": _HASH,
            **debian.settings(),
        }
        engine = ("--listen-address=127.0.0.11", "--address=/wiki.corp.example/192.0.2.80")
        with (
            dnsmasq(web, *engine, "--bind-interfaces"),
            content(web, tmp_path, settings) as guest,
        ):
            for station, address in (
                (network.station(ipv6=True), "172.30.1.2"),
                (network.station("other"), "172.30.1.200"),
                (second.station(), web.nic("eth1").address),
            ):
                await_answer(station, address)
            await_answer(network.host, "fd00:30:1::2")

            links = {link["address"]: link for link in guest.json("ip -j address")}
            assert _mtu_and_addresses(links[web.mac]) == (
                1500,
                {"172.30.1.2/24", "172.30.1.200/24", "fd00:30:1::2/64"},
            )
            assert _mtu_and_addresses(links[web.nic("eth1").mac]) == (1450, {"172.30.2.2/24"})
            routes = {
                "default via 172.30.1.1",
                "default via fd00:30:1::1 metric 1024",
                "10.1.0.0/16 via 172.30.1.1 metric 50",
                "10.2.0.0/16 scope link",
                f"{_link_local(web)} scope link",  # to the forwarder of names
                "10.3.0.0/16 via 172.30.1.1 src 172.30.1.200 mtu 1400",
                "fd00:98::/64 metric 1024",
                "fd00:99::/64 via fd00:30:1::1 metric 1024",
            }
            _await_routes(guest, routes)
            assert guest.ask("hostname -f") == "web.example.org\n"
            assert guest.ask("getent hosts database").split() == ["172.30.1.9", "db", "database"]
            assert guest.ask("getent ahostsv4 wiki").split()[0] == "192.0.2.80"
            assert guest.ask("cat /root/from-user") == "the user's own\n"
            assert guest.ask("cat /root/from-vendor") == "grüße\n"
            assert _KEY in guest.ask("cat /home/debian/.ssh/authorized_keys")
            assert guest.ask("getent shadow debian").split(":")[1] == _HASH
            ntp = guest.ask("timedatectl show-timesync -p SystemNTPServers")
            assert ntp == f"SystemNTPServers={network.gateway}\n"
            schema = guest.ask("cloud-init schema --system")
            assert schema.count("Valid schema") == 3, schema


def test_a_gateway_outside_the_subnet(network: Lan, debian: DebianGuest, tmp_path: Path) -> None:
    """As Calico configures it; with DHCP as well; cloud-init renders for networkd."""
    network.host.ip("address", "add", "169.254.1.1/32", "dev", network.bridge)
    network.host.ip("route", "add", "10.1.2.3/32", "dev", network.bridge)
    pod = network.container(
        "pod",
        address="10.1.2.3/32",
        gateway="169.254.1.1",
        routes=["169.254.1.1 dev eth0 scope link"],
    )
    settings = {
        "VMNET_IPAM": "dnsmasq,cloudinit",
        "VMNET_USER_DATA": _SCRIPT,
        **debian.settings(append=_NETWORKD),
    }
    with content(pod, tmp_path, settings) as guest:
        await_answer(network.host, "10.1.2.3")
        (link,) = (link for link in guest.json("ip -j address") if link["ifname"] != "lo")
        assert link["address"] == pod.mac
        assert _mtu_and_addresses(link) == (1500, {"10.1.2.3/32"})
        _await_routes(guest, {"default via 169.254.1.1", "169.254.1.1 scope link"})
        guest.await_answer(network.gateway)
        assert guest.ask("cat /root/from-user") == "ran\n"
        assert guest.ask("ls /etc/netplan") == ""


def test_a_thousand_routes_and_two_default_gateways(
    network: Lan, debian: DebianGuest, tmp_path: Path
) -> None:
    """DHCP cannot carry these. The user-data is a compressed MIME message in a file."""
    web = network.container("web", gateway=False)
    gateways = {"default via 172.30.1.1 metric 100", "default via 172.30.1.9 metric 200"}
    routes = {f"10.{n // 256}.{n % 256}.0/24 via 172.30.1.1" for n in range(1000)} | gateways
    web.run("ip", "-batch", "-", input="".join(f"route add {route}\n" for route in sorted(routes)))
    user_data = tmp_path / "user-data"
    user_data.write_bytes(gzip.compress(_multipart(("x-shellscript", _SCRIPT), _CONFIG)))
    settings = {
        "VMNET_IPAM": "cloudinit",
        "VMNET_USER_DATA": str(user_data),
        **debian.settings(),
    }
    with content(web, tmp_path, settings) as guest:
        _await_routes(guest, routes)
        await_answer(network.host, web.address)
        assert guest.ask("cat /root/from-user") == "ran\n"
        assert guest.ask("cat /root/from-config") == "a part of its own\n"


def _link_local(container: Namespace) -> str:
    """Return the link-local IPv4 address of the first bridge, which may have another one."""
    (found,) = (
        address["local"]
        for address in container.addresses("br0")
        if address["local"].startswith("169.254.")
    )
    return str(found)


def _multipart(*parts: tuple[str, str]) -> bytes:
    """Return a MIME message like those of ``cloud-init devel make-mime``."""
    message = MIMEMultipart()
    for kind, text in parts:
        message.attach(MIMEText(text, kind))
    return message.as_bytes()


def _mtu_and_addresses(link: Mapping[str, Any]) -> tuple[int, set[str]]:
    """Return a link's MTU and global addresses."""
    addresses = (address for address in link["addr_info"] if address["scope"] == "global")
    return link["mtu"], {f"{address['local']}/{address['prefixlen']}" for address in addresses}
