"""Check whether the host has the bridge that a layout describes."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

from vmnet.host_bridge.layout import Layout
from vmnet.settings.values import is_mac
from vmnet.terminal.findings import Finding

_NET = Path("/sys/class/net")
_CALL_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
DOCKER = Path("/var/run/docker.sock")
_DOCKER_NAME = "com.docker.network.bridge.name"
_SECONDS = 5.0
_NO_MAC = "00:00:00:00:00:00"
_UP = 0x1  # IFF_UP
_SET = "3"  # NET_ADDR_SET; otherwise a bridge takes the lowest MAC of its ports


def nic_mac(nic: str) -> str:
    """Return the MAC of this host's NIC; empty if the NIC does not exist or has no MAC."""
    try:
        found = (_NET / nic / "address").read_text().strip()
    except OSError:
        return ""
    return found if is_mac(found) and found != _NO_MAC else ""


def inspect(layout: Layout, docker: Path = DOCKER) -> Iterator[Finding]:
    """Check each part of a layout, except its nameservers and gateway.

    :param layout: the layout; its address is compared only if it is set
    :param docker: the engine's socket
    """
    bridge, nic = _NET / layout.bridge, _NET / layout.nic
    command = f"vmnet host-bridge --nic {layout.nic} --bridge {layout.bridge}"
    remedy = f"`{command}` prints a script that creates it"
    for name, path in ((layout.nic, nic), (layout.bridge, bridge)):
        if not path.exists():
            yield Finding("interface", "missing", f"there is no {name}", remedy)
            return
    if not (bridge / "bridge").exists():
        yield Finding("bridge", "missing", f"{layout.bridge} is not a bridge", remedy)
        return
    for name, path in ((layout.nic, nic), (layout.bridge, bridge)):
        if not int((path / "flags").read_text(), 16) & _UP:
            yield Finding("interface", "missing", f"{name} is down", f"`ip link set {name} up`")
    yield _port(layout, remedy)
    yield from _addresses(layout, remedy)
    yield _mac(layout)
    yield _forward_delay(layout)
    yield _iptables()
    yield _engine(layout, docker)


def _port(layout: Layout, remedy: str) -> Finding:
    master = _NET / layout.nic / "master"
    if master.exists() and master.resolve().name == layout.bridge:
        return Finding("port", "ok", f"{layout.nic} is in {layout.bridge}")
    return Finding("port", "missing", f"{layout.nic} is not in {layout.bridge}", remedy)


def _addresses(layout: Layout, remedy: str) -> Iterator[Finding]:
    from vmnet.net import ipv4

    held = ipv4.addresses_by_device()
    wanted = str(layout.address) if layout.address else ""
    present = ", ".join(held.get(layout.bridge, ())) or "no IPv4 address"
    if held.get(layout.bridge) and (not wanted or wanted in held[layout.bridge]):
        yield Finding("address", "ok", f"{layout.bridge} has {present}")
    else:
        instead = f", not {wanted}" if wanted else ""
        yield Finding("address", "missing", f"{layout.bridge} has {present}{instead}", remedy)
    if held.get(layout.nic):
        listed = ", ".join(held[layout.nic])
        yield Finding("address", "missing", f"{layout.nic} still has {listed}", remedy)


def _mac(layout: Layout) -> Finding:
    macs = [(_NET / name / "address").read_text().strip() for name in (layout.bridge, layout.nic)]
    remedy = f"set its MAC to {macs[1]}, or its MAC and DHCP lease change with its ports"
    if macs[0] != macs[1]:
        detail = f"{layout.bridge} has {macs[0]}, {layout.nic} has {macs[1]}"
        return Finding("MAC", "warning", detail, remedy)
    if (_NET / layout.bridge / "addr_assign_type").read_text().strip() != _SET:
        detail = f"{layout.bridge} has {macs[0]} only until a container with a lower MAC joins"
        return Finding("MAC", "warning", detail, remedy)
    return Finding("MAC", "ok", f"{layout.bridge} and {layout.nic} both have {macs[0]}")


def _forward_delay(layout: Layout) -> Finding:
    settings = _NET / layout.bridge / "bridge"
    stp = (settings / "stp_state").read_text().strip() != "0"
    hundredths = int((settings / "forward_delay").read_text())
    if not stp:
        return Finding("forwarding", "ok", "new ports forward at once")
    return Finding(
        "forwarding",
        "warning",
        f"a new port forwards nothing for {2 * hundredths / 100:.0f} s: spanning tree is on",
        "guests' DHCP may time out: switch STP off and set the forward delay to 0",
    )


def _iptables() -> Finding:
    if not _CALL_IPTABLES.exists() or _CALL_IPTABLES.read_text().strip() == "0":
        return Finding("iptables", "ok", "bridged frames bypass iptables")
    return Finding(
        "iptables",
        "warning",
        "bridged frames pass iptables (bridge-nf-call-iptables=1), and Docker's default is to drop",
        "`iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT`, or `sysctl -w "
        "net.bridge.bridge-nf-call-iptables=0`",
    )


def _engine(layout: Layout, docker: Path) -> Finding:
    remedy = (
        f"`vmnet host-bridge --nic {layout.nic} --bridge {layout.bridge} --containers …` prints a "
        "script; its step `docker` configures Docker"
    )
    try:
        networks = _networks_of_docker(docker)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Finding("docker", "warning", f"can't query Docker at {docker}: {error}", remedy)
    if name := networks.get(layout.bridge):
        return Finding("docker", "ok", f"{layout.bridge} is Docker's network {name!r}")
    bridges = ", ".join(sorted(networks)) or "no bridge"
    return Finding("docker", "missing", f"Docker puts containers on {bridges}", remedy)


def _networks_of_docker(path: Path) -> dict[str, str]:
    """Return the names of Docker's networks by bridge (Engine API, ``GET /networks``).

    Without an explicit name, Docker names a network's bridge after the network's ID.
    """
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_SECONDS)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/networks")
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(answer, list):
        raise ValueError(answer.get("message", answer))
    return {
        (network["Options"] or {}).get(_DOCKER_NAME, f"br-{network['Id'][:12]}"): network["Name"]
        for network in answer
        if network["Driver"] == "bridge"
    }
