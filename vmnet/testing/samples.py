"""Sample identities: those of real engines, and hostile ones that try to inject content."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final

from attrs import evolve

from vmnet import testing
from vmnet.model.identity import Host, Identity

_ULA = "fd00:77::2/64"

# As `docker run` creates it.
USUAL: Final = testing.identity()
# By network.
PLAIN: Final[dict[str, Identity]] = {
    "docker's default bridge": USUAL,
    "a user-defined network, with Docker's resolver": testing.identity(
        testing.interface("10.1.0.9/24", gateway="10.1.0.1"),
        resolver=testing.resolver("127.0.0.11", options=("ndots:0",)),
    ),
    "IPv4 and IPv6": testing.identity(
        testing.interface("10.1.0.9/24", _ULA, gateway="10.1.0.1"),
        resolver=testing.resolver("192.0.2.53", "2001:db8::53", search=("example.org",)),
        domain="example.org",
        ntp=(ip_address("192.0.2.123"),),
    ),
    "swarm: an overlay, and the default route on another NIC": testing.identity(
        testing.interface("10.0.1.7/24", mtu=1450),
        testing.interface("172.18.0.3/16", name="eth1", gateway="172.18.0.1"),
    ),
    "a gateway outside of every subnet": testing.identity(
        testing.interface("10.244.1.5/32", gateway="169.254.1.1"),
    ),
    "CNI's ptp: other hosts of the subnet are behind the gateway": testing.identity(
        testing.interface(
            *("10.247.0.2/24", _ULA),
            off_link=(ip_network("10.247.0.0/24"), ip_network("fd00:77::/64")),
            routes=(
                testing.route("0.0.0.0/0", "10.247.0.1"),
                testing.route("10.247.0.0/24", "10.247.0.1"),
                testing.route("10.247.0.1/32"),
                testing.route("fd00:77::/64", "fd00:77::1"),
                testing.route("fd00:77::1/128"),
            ),
        ),
    ),
    "links, more addresses, static routes": testing.identity(
        evolve(
            testing.interface("10.1.0.9/24", "10.1.0.10/24", gateway="10.1.0.1"),
            routes=(
                testing.route("0.0.0.0/0", "10.1.0.1"),
                testing.route("192.0.2.0/24", "10.1.0.2", metric=50),
                testing.route("198.51.100.0/24"),
            ),
        ),
        hosts=(
            Host(ip_address("10.1.0.20"), ("db", "db.example.org")),
            Host(ip_address("fd00:77::20"), ("db",)),
        ),
    ),
    "no address": testing.identity(testing.interface()),
}

# If this word begins a line of a file, an attacker could inject a directive, a key or a command.
CANARY: Final = "vmnet-broke-out"
# The result if a template engine evaluates the sample "a template".
EVALUATED: Final = "broke1764out"
_TEXTS: Final[dict[str, str]] = {
    "a line feed": f"web\n{CANARY}",
    "a carriage return": f"web\r{CANARY}",
    "a NUL": f"web\0{CANARY}",
    "Unicode's line ends": f"web\u2028{CANARY}\u0085{CANARY}",
    "closed quotes": f"web\"'\n{CANARY}: |\n{CANARY}",
    "a template": "broke{{ 42 * 42 }}out",
    "a path traversal": "../../../../etc/vmnet-broke-out",
    "an absolute path": "/etc/vmnet-broke-out",
    "five thousand characters": "w" * 5000,
    "an empty name": "",
}


def _hostile(text: str) -> Identity:
    return testing.identity(
        testing.interface("10.1.0.9/24", gateway="10.1.0.1"),
        hostname=text,
        domain=text,
        resolver=testing.resolver("192.0.2.53", search=(text,), options=(text,)),
        hosts=(Host(ip_address("10.1.0.20"), (text, "db")),),
    )


HOSTILE: Final[dict[str, Identity]] = {name: _hostile(text) for name, text in _TEXTS.items()}
