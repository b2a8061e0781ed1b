"""``vmnet host-bridge``: have guests on the host's own network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path
from typing import TypeVar

from vmnet.cli.findings import report
from vmnet.cli.output import Parser, heading, print_json
from vmnet.errors import UsageError
from vmnet.host_bridge.inspection import DOCKER, inspect, nic_mac
from vmnet.host_bridge.layout import APPLY, FORMATS, PREPARE, Layout, daemon_json, render
from vmnet.values import is_interface, is_mac

Value = TypeVar("Value")


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
    files = render(layout, options.format)
    files["/etc/docker/daemon.json"] = daemon_json(
        layout, _read(options.daemon_json), options.containers
    )
    if not layout.mac and options.format != "ifupdown":
        print(
            f"vmnet: warning: the MAC of {layout.nic} is not known on this machine: "
            f"give it by --mac, or {layout.bridge} may change its own",
            file=sys.stderr,
        )
    if options.json:
        print_json(files)
    else:
        _show(files, layout, options.format)
    return 0


def _parser() -> Parser:
    parser = Parser(
        "host-bridge",
        "Print the configuration that puts the host's NIC in a bridge and containers on it, or "
        "check a host against it. Changes nothing.",
    )
    parser.add_argument("--check", action="store_true", help="look at this host instead")
    parser.add_argument("--nic", default="eth0", type=_valid(_interface), help="eth0 unless given")
    parser.add_argument("--bridge", default="br0", type=_valid(_interface), help="br0 unless given")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="network system")
    parser.add_argument("--mac", type=_valid(_mac), help="the NIC's, if not of this host")
    parser.add_argument("--address", type=_valid(_address), help="static, as 192.0.2.10/24")
    parser.add_argument("--gateway", type=_valid(IPv4Address), help="with --address")
    parser.add_argument(
        "--containers",
        type=_valid(IPv4Network),
        metavar="PREFIX",
        help="a part of the LAN's subnet that its DHCP server leaves to Docker: 192.0.2.240/28",
    )
    parser.add_argument(
        "--nameserver", action="append", default=[], type=_valid(ip_address), help="repeatable"
    )
    parser.add_argument(
        "--daemon-json",
        default=Path("/etc/docker/daemon.json"),
        type=Path,
        metavar="FILE",
        help="Docker's present configuration, which is kept",
    )
    return parser


def _valid(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    def checked(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _interface(text: str) -> str:
    if not is_interface(text):
        raise ValueError(f"{text!r} is no interface name: up to 15 letters, digits, '.', '-', '_'")
    return text


def _address(text: str) -> IPv4Interface:
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length, such as 192.0.2.10/24")
    return IPv4Interface(text)


def _mac(text: str) -> str:
    if not is_mac(text):
        raise ValueError(f"{text!r} is no MAC address such as 02:42:ac:11:00:02")
    return text.lower()


def _known_mac(options: argparse.Namespace) -> str:
    """ifupdown's files name the NIC, and so stay right when it is replaced."""
    return "" if options.format == "ifupdown" else nic_mac(options.nic)


def _docker(environ: Mapping[str, str]) -> Path:
    """The socket that ``docker`` itself would ask, if it is one of this host."""
    host = environ.get("DOCKER_HOST", "")
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else DOCKER


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(
            f"can't read {path}: {error.strerror}", "name it by --daemon-json"
        ) from None


def _show(files: Mapping[str, str], layout: Layout, network_system: str) -> None:
    names = {"bridge": layout.bridge, "nic": layout.nic}
    console = "on the host's console: a mistake cuts it off"
    prepare = PREPARE.get(network_system)
    if prepare:
        heading(f"# First, {console}")
        print(f"{prepare.format(**names)}\n")
    for path, text in files.items():
        heading(f"# {path}")
        print(text)
    heading("# Then" if prepare else f"# Then, {console}")
    print(APPLY[network_system].format(**names))
    print("systemctl restart docker")
    print(f"vmnet host-bridge --check --nic {layout.nic} --bridge {layout.bridge}")
    print("docker run -it --cap-add NET_ADMIN -e NO_DHCP=true vmnet")
