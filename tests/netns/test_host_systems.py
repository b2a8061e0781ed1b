"""The scripts of ``vmnet host-bridge`` create the bridge with each network configuration system.

Debian's own packages of these systems run in a namespace that is the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.lab.images.debian_host import DebianHost, debian_host
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from vmnet.host_bridge.layout import FORMATS

pytestmark = pytest.mark.long  # a Debian host of its own for each test

# The longest names, with every kind of character that is allowed.
NIC, BRIDGE = "enx0242ac1e0102", "vm_lan.host-0"
NAMES = ("--nic", NIC, "--bridge", BRIDGE)
LEASED, STATIC = "172.30.1.150/24", "172.30.1.77/24"
LOWEST = "02:00:00:00:00:01"
NETWORKD = """\
install -d -o systemd-network -g systemd-network \\
    /run/systemd/netif /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
exec /usr/lib/systemd/systemd-networkd
"""
_NETWORK_MANAGER = """\
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
exec NetworkManager --no-daemon --log-level=INFO
"""
_DAEMONS = {"netplan": NETWORKD, "networkd": NETWORKD, "networkmanager": _NETWORK_MANAGER}
# `netplan apply` asks the init system to restart networkd. This host has none; see tests/vm.
_NETPLAN = """\
#!/bin/sh
netplan=/usr/share/netplan/netplan.script
[ "$1" = apply ] || exec $netplan "$@"
$netplan generate && networkctl reload
"""
SCRIPT = "/root/br0.sh"
# A dropped connection: the terminal disappears, and its processes receive SIGHUP.
_DROPPED = ("script", "--quiet", "--command")


@pytest.fixture
def machine(network: Lan) -> Namespace:
    """A host whose NIC is not configured."""
    made = network.station("machine")
    made.ip("address", "flush", "dev", "eth0")
    made.ip("link", "set", "eth0", "down")
    made.ip("link", "set", "eth0", "name", NIC)
    return made


# An installer's configuration: the NIC has the address of the lease, from DHCP or statically.
_INSTALLED = {
    "ifupdown": (
        "/etc/network/interfaces",
        f"auto lo\niface lo inet loopback\nallow-hotplug {NIC}\niface {NIC} inet dhcp\n",
    ),
    "netplan": (
        "/etc/netplan/50-cloud-init.yaml",
        f"network: {{version: 2, ethernets: {{{NIC}: {{addresses: [{LEASED}], "
        "routes: [{to: default, via: 172.30.1.1}]}}}\n",
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


@contextmanager
def installed(host: DebianHost, network_system: str) -> Iterator[Callable[[], str]]:
    """Configure the host like an installer; yield a function that returns its daemon's output."""
    write(host, dict([_INSTALLED[network_system]]))
    if network_system == "netplan":
        host.run("netplan", "generate")
        host.run("rm", "/usr/sbin/netplan")  # a link
        host.write("/usr/sbin/netplan", _NETPLAN, 0o755)
    if network_system == "ifupdown":
        host.run("ifup", "--all")
        host.run("ifup", NIC)  # as udev does for `allow-hotplug`
        yield str
    else:
        with host.daemon("sh", "-ec", _DAEMONS[network_system]) as process:
            yield process.output


def has_lease(machine: Namespace) -> bool:
    return LEASED.split("/")[0] in [address["local"] for address in machine.addresses(NIC)]


@contextmanager
def served(network: Lan, machine: Namespace) -> Iterator[DebianHost]:
    """Run the host on a LAN with a DHCP server."""
    options = ("--dhcp-range=172.30.1.150,172.30.1.150,2m", f"--interface={network.bridge}")
    with (
        dnsmasq(network.host, *options, "--no-ping", port=0),
        debian_host(machine) as host,
    ):
        yield host


@pytest.mark.parametrize("address", [LEASED, STATIC], ids=["dhcp", "static"])
@pytest.mark.parametrize("network_system", FORMATS)
def test_the_host_moves_to_its_bridge(
    network_system: str, address: str, network: Lan, machine: Namespace, vmnet: Vmnet
) -> None:
    """The bridge has the NIC's MAC, and keeps its MAC and address when containers join."""
    static = ("--address", address, "--gateway", network.gateway, "--nameserver", network.gateway)
    own = (*NAMES, *(static if address == STATIC else ()), "--format", network_system)

    def findings() -> list[dict[str, str]]:
        asked = ("host-bridge", "--check", "--json", *NAMES, "--address", address)
        found: list[dict[str, str]] = vmnet(machine, *asked).json()
        return [finding for finding in found if finding["what"] not in ("docker", "iptables")]

    def is_right() -> bool:
        found = findings()
        routes = [route.get("gateway") for route in machine.routes() if route["dst"] == "default"]
        is_ok = len(found) == 4 and all(finding["result"] == "ok" for finding in found)
        return is_ok and routes == [network.gateway]

    with served(network, machine) as host, moved(host, own, machine, vmnet) as output:

        def detail() -> str:
            return f"{findings()}\n{machine.routes()}\n{output()}"

        until(is_right, WAIT, "the host to have its bridge", interval=0.5, detail=detail)
        machine.run("ping", "-c1", "-W5", network.gateway)
        assert "the change is kept" in host.run("sh", SCRIPT, "keep").stdout

        machine.ip("link", "add", "container0", "address", LOWEST, "type", "veth")
        machine.ip("link", "set", "container0", "master", BRIDGE, "up")
        assert is_right(), detail()
        log = output().lower().replace("serviceunknown", "").replace("unknown return code", "")
        assert "unknown" not in log, log
        assert "failed to parse" not in log, log


def test_a_nic_that_netplan_matches_by_a_pattern(
    network: Lan, machine: Namespace, vmnet: Vmnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's cloud images have a file for all NICs, which precedes the file for a single NIC."""
    pattern = "{all-en: {match: {name: 'en*'}, dhcp4: true, dhcp6: true}}"
    text = f"network: {{version: 2, ethernets: {pattern}}}\n"
    monkeypatch.setitem(_INSTALLED, "netplan", ("/etc/netplan/90-default.yaml", text))
    own = (*NAMES, "--format", "netplan")
    with served(network, machine) as host, moved(host, own, machine, vmnet) as output:
        switched = lambda: machine.addresses(BRIDGE) and not has_lease(machine)  # noqa: E731
        until(switched, WAIT, "the switch", detail=output)
        assert "the change is kept" in host.run("sh", SCRIPT, "keep").stdout
        host.run("sh", SCRIPT, "undo")
        undone = lambda: has_lease(machine) and not machine.link(BRIDGE)  # noqa: E731
        until(undone, WAIT, "the undo", detail=output)


@contextmanager
def moved(
    host: DebianHost, own: tuple[str, ...], machine: Namespace, vmnet: Vmnet
) -> Iterator[Callable[[], str]]:
    """Configure the host like an installer, then run the script's ``try``."""
    printed = vmnet(machine, "host-bridge", *own, "--no-docker")
    assert (printed.returncode, printed.stderr) == (0, "")
    with installed(host, own[-1]) as output:
        until(lambda: has_lease(machine), WAIT, "the host as installed", detail=output)
        host.write(SCRIPT, printed.stdout)
        host.run("sh", SCRIPT, "try")
        yield lambda: output() + host.path(f"/var/lib/vmnet/{BRIDGE}.log").read_text()


# The script counts seconds with `sleep`. Its time starts when the test has seen the bridge, because
# a busy machine may need longer than that time for the switch alone, or for a look at it.
_SLEEP = """\
#!/bin/sh
until [ -e /root/seen ]; do /usr/bin/sleep 0.1; done
exec /usr/bin/sleep "$@"
"""


@pytest.mark.parametrize("network_system", FORMATS)
def test_a_switch_that_is_not_kept_is_undone(
    network_system: str, network: Lan, machine: Namespace, vmnet: Vmnet
) -> None:
    """The connection drops at once, because the host's new address is in the wrong subnet."""
    wrong = ("--address", "192.0.2.10/24", "--format", network_system, "--no-docker")
    printed = vmnet(machine, "host-bridge", *NAMES, *wrong).stdout
    path, text = _INSTALLED[network_system]
    with served(network, machine) as host, installed(host, network_system) as output:
        until(lambda: has_lease(machine), WAIT, "the host as installed", detail=output)
        host.write(SCRIPT, printed)
        host.write("/usr/sbin/sleep", _SLEEP, 0o755)  # precedes /usr/bin in the script's PATH
        for seconds in ("2m", "010", ""):
            refused = host.run("sh", "-c", f"sh {SCRIPT} try '{seconds}' 2>&1 || true").stdout
            assert "is not a number of seconds" in refused
        host.run(*_DROPPED, f"sh {SCRIPT} try 5", "/dev/null")
        saved = host.path(f"/var/lib/vmnet/{BRIDGE}")

        def detail() -> str:
            log = saved.with_name(f"{BRIDGE}.log")
            return output() + (log.read_text() if log.exists() else "")

        until(lambda: machine.link(BRIDGE), WAIT, "the switch", detail=detail)
        host.write("/root/seen", "")

        def is_back() -> bool:
            ended = not saved.exists() and not machine.link(BRIDGE)
            ping = ("ping", "-c1", "-W1", network.gateway)
            return ended and has_lease(machine) and not machine.run(*ping, check=False).returncode

        until(is_back, WAIT, "the undo", detail=detail)
        assert host.path(path).read_text() == text
        late = host.run("sh", "-c", f"sh {SCRIPT} keep 2>&1 || true").stdout
        assert "the previous configuration is active" in late


_STAND_IN = """\
#!/bin/sh
echo "${0##*/} $*" >>/root/asked
[ ! -e /root/broken ] || exit 1
echo '{"com.docker.network.bridge.name": "%s"}'
"""


def _require_that_failures_change_nothing(host: DebianHost) -> None:
    """Let the copy of the configuration fail, and then the switch to the bridge."""
    path, text = _INSTALLED["ifupdown"]

    def script(step: str) -> str:
        return host.run("sh", "-c", f"sh {SCRIPT} {step} 2>&1 || true").stdout

    for program in ("cp", "ifdown"):
        failing = f"#!/bin/sh\n: >/root/{program}-failed\nexit 1\n"
        host.write(f"/usr/local/bin/{program}", failing, 0o755)
    host.run("sh", "-c", f"sed -i 's#^PATH=#&/usr/local/bin:#' {SCRIPT}")
    script("try")
    assert not host.path(f"/var/lib/vmnet/{BRIDGE}").exists()
    assert "there is nothing to revert" in script("undo")
    host.path("/usr/local/bin/cp").unlink()
    script("try")
    until(host.path("/root/ifdown-failed").exists, WAIT, "the switch to fail")
    assert f"{NIC} is not in {BRIDGE}, so there is nothing to keep" in script("keep")
    host.path("/usr/local/bin/ifdown").unlink()
    script("undo")
    until(lambda: not host.path(f"/var/lib/vmnet/{BRIDGE}").exists(), WAIT, "the undo")
    assert host.path(path).read_text() == text


def test_docker_comes_last_and_keeps_its_configuration_if_it_fails(
    network: Lan, machine: Namespace, vmnet: Vmnet
) -> None:
    """With stand-ins for systemctl and docker; another test gives the file to a real engine."""
    own = ("--address", STATIC, "--containers", "172.30.1.240/28", "--daemon-json", "/nonexistent")
    printed = vmnet(machine, "host-bridge", *NAMES, *own).stdout
    path, before = "/etc/docker/daemon.json", '{"dns": ["192.0.2.53"]}'
    with served(network, machine) as host, installed(host, "ifupdown") as output:
        host.write(SCRIPT, printed)
        host.write(path, before)
        for name in ("systemctl", "docker"):
            host.write(f"/usr/sbin/{name}", _STAND_IN % BRIDGE, 0o755)

        def docker() -> str:
            return host.run("sh", "-c", f"sh {SCRIPT} docker 2>&1 || true").stdout

        def restarts() -> int:
            return host.path("/root/asked").read_text().count("systemctl restart docker")

        host.write("/root/asked", "")
        assert "run `try` and `keep` first" in docker()
        _require_that_failures_change_nothing(host)
        host.run("sh", SCRIPT, "try")
        until(lambda: machine.addresses(BRIDGE), WAIT, "the switch", detail=output)
        assert "run `try` and `keep` first" in docker()
        host.run("sh", SCRIPT, "keep")
        host.write("/root/broken", "")
        assert not restarts()
        assert f"Docker does not accept {BRIDGE}" in docker()
        assert host.path(path).read_text() == before
        assert restarts() == 2, "a restart with the new file, and a restart with the old file"
        host.path("/root/broken").unlink()
        assert f"Docker puts containers on {BRIDGE}" in docker()
        assert '"fixed-cidr": "172.30.1.240/28"' in host.path(path).read_text()
        host.run("sh", SCRIPT, "undo")
        until(lambda: has_lease(machine), WAIT, "the undo", detail=output)
        assert host.path(path).read_text() == before
