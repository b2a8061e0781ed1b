"""``vmnet host-bridge``: print or check the configuration for guests on the host's network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path

from vmnet.errors import UsageError
from vmnet.host_bridge.inspection import DOCKER, inspect, nic_mac
from vmnet.host_bridge.layout import DAEMON_JSON, FORMATS, Layout, daemon_json, render, script
from vmnet.settings.values import is_interface, is_mac
from vmnet.terminal.documents import print_json
from vmnet.terminal.findings import report
from vmnet.terminal.options import Parser, valid


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    layout = Layout(
        nic=options.nic,
        bridge=options.bridge,
        mac=options.mac or _known_mac(options),
        address=options.address,
        gateway=options.gateway,
        nameservers=tuple(options.nameserver),
    )
    layout.refuse_contradictions()
    if options.check:
        return report(
            inspect(layout, _docker(environ)),
            as_json=options.json,
            good="guests with NO_DHCP=true get their addresses from the host's network",
            bad="guests would not be on the host's network",
        )
    docker = "" if options.no_docker else _daemon_json(layout, options)
    if not layout.mac and options.format != "ifupdown":
        print(
            f"vmnet: warning: the MAC of {layout.nic} is unknown on this machine: "
            f"set --mac, or the MAC of {layout.bridge} may change",
            file=sys.stderr,
        )
    if options.json:
        print_json({**render(layout, options.format), **({DAEMON_JSON: docker} if docker else {})})
    else:
        print(script(layout, options.format, docker), end="")
    return 0


def _daemon_json(layout: Layout, options: argparse.Namespace) -> str:
    if options.containers is None:
        raise UsageError(
            "--containers is missing: Docker would give the first container the first address of "
            "the LAN, which is usually the router's",
            "set it to a part of the LAN's subnet that its DHCP server and hosts do not use, such "
            "as `--containers 192.0.2.240/28`, or use `--no-docker`",
        )
    layout.refuse_range(options.containers, _taken(layout))
    return daemon_json(layout, _read(options.daemon_json), options.containers)


def _taken(layout: Layout) -> dict[str, IPv4Interface]:
    """Return LAN addresses that are in use: from the options, otherwise from this host."""
    from vmnet.net import ipv4

    held = ipv4.addresses_by_device()
    present = [*held.get(layout.nic, ()), *held.get(layout.bridge, ())]
    own = layout.address or next(map(IPv4Interface, present), None)
    if own is None:
        return {}
    taken = {"the host's": own}
    for gateway in (layout.gateway,) if layout.gateway else ipv4.gateways():
        if gateway in own.network:
            taken["the router's"] = IPv4Interface((gateway, own.network.prefixlen))
    return taken


def _parser() -> Parser:
    parser = Parser(
        "host-bridge",
        "Print a script that puts the host's NIC into a bridge and containers on the bridge, or "
        "check this host. The command changes nothing; the script explains its own use.",
    )
    parser.add_argument("--check", action="store_true", help="check this host instead")
    parser.add_argument("--nic", default="eth0", type=valid(_interface), help="default eth0")
    parser.add_argument("--bridge", default="br0", type=valid(_interface), help="default br0")
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="the host's network system"
    )
    parser.add_argument("--mac", type=valid(_mac), help="the NIC's MAC, for another host")
    parser.add_argument("--address", type=valid(_address), help="static, such as 192.0.2.10/24")
    parser.add_argument("--gateway", type=valid(IPv4Address), help="with --address")
    parser.add_argument(
        "--containers",
        type=valid(IPv4Network),
        metavar="PREFIX",
        help="part of the LAN's subnet for Docker's containers, such as 192.0.2.240/28",
    )
    parser.add_argument("--no-docker", action="store_true", help="do not configure Docker")
    parser.add_argument(
        "--nameserver", action="append", default=[], type=valid(ip_address), help="repeatable"
    )
    parser.add_argument(
        "--daemon-json",
        default=Path("/etc/docker/daemon.json"),
        type=Path,
        metavar="FILE",
        help="Docker's current configuration, whose other settings are kept",
    )
    return parser


def _interface(text: str) -> str:
    if not is_interface(text):
        raise ValueError(
            f"{text!r} is not an interface name: up to 15 letters, digits, '.', '-', '_'"
        )
    return text


def _address(text: str) -> IPv4Interface:
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length, such as 192.0.2.10/24")
    return IPv4Interface(text)


def _mac(text: str) -> str:
    if not is_mac(text):
        raise ValueError(f"{text!r} is not a MAC address such as 02:42:ac:11:00:02")
    return text.lower()


def _known_mac(options: argparse.Namespace) -> str:
    """Return the NIC's MAC. ifupdown's files name the NIC instead, so the NIC can be replaced."""
    return "" if options.format == "ifupdown" else nic_mac(options.nic)


def _docker(environ: Mapping[str, str]) -> Path:
    """Return the socket that the ``docker`` client uses, if it is on this host."""
    host = environ.get("DOCKER_HOST", "")
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else DOCKER


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(
            f"can't read {path}: {error.strerror}", "set its path by --daemon-json"
        ) from None
