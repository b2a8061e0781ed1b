"""A network identity as somebody sees it: the container before, the guest after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import asdict, frozen

from vmnet.demo.network import HOSTNAME, NAMESERVER, Namespace

_CALLED = {"mac": "MAC", "mtu": "MTU", "hostname": "host name"}


@frozen
class Seen:
    """:param address: with its prefix length"""

    address: str
    mac: str
    mtu: str
    gateway: str
    nameserver: str
    hostname: str

    def rows(self, other: Seen) -> Iterator[tuple[str, str, str]]:
        """Field by field: what it is called, here and there."""
        theirs = asdict(other)
        for name, value in asdict(self).items():
            yield _CALLED.get(name, name), value, theirs[name]


def of_container(container: Namespace) -> Seen:
    """What the container's eth0 has, from the kernel."""
    link = container.link("eth0")
    own = next(one for one in link["addr_info"] if one["family"] == "inet")
    (default,) = container.show("route", "show", "default")
    return Seen(
        address=f"{own['local']}/{own['prefixlen']}",
        mac=link["address"],
        mtu=str(link["mtu"]),
        gateway=default["gateway"],
        nameserver=NAMESERVER,
        hostname=HOSTNAME,
    )


def of_guest(answer: Any) -> Seen:
    """What the guest tells of itself at /cgi-bin/identity; empty where it has nothing."""
    (interface,) = answer["interfaces"]
    defaults = [route.split() for route in answer["routes"] if route.startswith("default via ")]
    return Seen(
        address=" ".join(interface["ipv4"]),
        mac=interface["mac"],
        mtu=str(interface["mtu"]),
        gateway=" ".join(words[2] for words in defaults),
        nameserver=" ".join(answer["nameservers"]),
        hostname=answer["hostname"],
    )
