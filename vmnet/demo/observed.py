"""The network identity of the container before the start, and of the guest after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import asdict, frozen

from vmnet.demo.network import HOSTNAME, NAMESERVER, Namespace

_LABELS = {"mac": "MAC", "mtu": "MTU", "hostname": "host name"}


@frozen
class Observed:
    """A network identity.

    :param address: the address with its prefix length
    """

    address: str
    mac: str
    mtu: str
    gateway: str
    nameserver: str
    hostname: str

    def rows(self, other: Observed) -> Iterator[tuple[str, str, str]]:
        """Yield each field's label, own value and other value."""
        others = asdict(other)
        for name, value in asdict(self).items():
            yield _LABELS.get(name, name), value, others[name]


def of_container(container: Namespace) -> Observed:
    """Read the identity of the container's eth0 from the kernel."""
    link = container.link("eth0")
    own = next(address for address in link["addr_info"] if address["family"] == "inet")
    (default,) = container.show("route", "show", "default")
    return Observed(
        address=f"{own['local']}/{own['prefixlen']}",
        mac=link["address"],
        mtu=str(link["mtu"]),
        gateway=default["gateway"],
        nameserver=NAMESERVER,
        hostname=HOSTNAME,
    )


def of_guest(answer: Any) -> Observed:
    """Read the guest's report from /cgi-bin/identity. Missing values are empty."""
    (interface,) = answer["interfaces"]
    defaults = [route.split() for route in answer["routes"] if route.startswith("default via ")]
    return Observed(
        address=" ".join(interface["ipv4"]),
        mac=interface["mac"],
        mtu=str(interface["mtu"]),
        gateway=" ".join(words[2] for words in defaults),
        nameserver=" ".join(answer["nameservers"]),
        hostname=answer["hostname"],
    )
