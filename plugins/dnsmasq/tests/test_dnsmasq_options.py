"""The options that the real dnsmasq sends: they are correct, or reported as too long."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vmnet_dnsmasq.config import Paths, Service, render, render_hosts, render_servers

from tests.lab.clients.offer import names, offer
from tests.lab.net.bridge_guest import guest
from tests.lab.net.namespace import Namespace, namespace
from vmnet import testing
from vmnet.api import Host, Identity, Route
from vmnet.testing import interface, resolver, route

NIC = interface("172.17.0.2/16", gateway="172.17.0.1")
WHOLE = 1500  # bytes of the largest message that most clients accept
EXAMPLES = settings(max_examples=25)


@frozen
class Lab:
    """A bridge with dnsmasq, and a guest on it."""

    container: Namespace
    guest: Namespace
    folder: Path

    @contextmanager
    def serving(self, service: Service) -> Iterator[None]:
        """Run dnsmasq with the files that a start writes."""
        paths = Paths.below(self.folder)
        paths.config.write_text(render(service, paths))
        paths.hosts.write_text(render_hosts(service.hosts))
        paths.servers.write_text(render_servers(service.upstream or ()))
        paths.leases.unlink(missing_ok=True)
        argv = ("dnsmasq", "--keep-in-foreground", f"--conf-file={paths.config}")
        with self.container.popen(*argv):
            yield

    def offered(self, identity: Identity, largest: int | None = WHOLE) -> dict[int, bytes]:
        service = Service.of(identity, testing.wiring(identity))
        with self.serving(service):
            return offer(self.guest, NIC.mac, largest=largest)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with (
        # The path contains all separators of dnsmasq.conf; dnsmasq's user can enter it.
        TemporaryDirectory(prefix="vmnet \"#,' ") as folder,
        namespace("dnsmasq") as container,
    ):
        Path(folder).chmod(0o777)
        container.ip("link", "add", "br0", "type", "bridge")
        container.ip("link", "set", "br0", "up")
        container.ip("address", "add", "169.254.1.1/32", "dev", "br0")
        with guest(container, "br0", NIC.mac) as vm:
            vm.ip("address", "add", str(NIC.ipv4[0]), "dev", "eth0")
            yield Lab(container, vm, Path(folder))


LABELS = st.from_regex(r"\A[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z") | st.from_regex(
    r"\A([0-9a-f]{1,12}|[0-9]{1,12}[a-z]?|ignore|infinite|set:|[bsiBSI])\Z"
).filter(lambda text: ":" not in text)
DOMAINS = (
    st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) < 254)
)


@EXAMPLES
@given(hostname=LABELS, domain=DOMAINS, search=st.lists(DOMAINS, max_size=3, unique=True))
@example(hostname="ignore", domain="s", search=["i"])
@example(hostname="infinite", domain="12s", search=["b"])
@example(hostname="12345678901d", domain="1.2.3.4", search=["1.2.3.4"])
@example(hostname="2h", domain="1234", search=["12s"])
@example(hostname="_x", domain="AB--c", search=["AB--c", "XN--a.b"])
@example(hostname="Web", domain="ff", search=["aa", "0"])
def test_names_arrive_unchanged(lab: Lab, hostname: str, domain: str, search: list[str]) -> None:
    identity = testing.identity(
        NIC, hostname=hostname, domain=domain, resolver=resolver("192.0.2.53", search=search)
    )
    found = lab.offered(identity)
    assert IPv4Address(found[0]) == NIC.ipv4[0].ip
    assert found[12].decode() == hostname
    assert found[15].decode().rstrip(".") == domain
    kept = list(Service.of(identity, testing.wiring(identity)).search)
    assert (
        names(found.get(119, b""))
        == [name.lower() for name in kept]
        == [name.lower() for name in search[: len(kept)]]
    )


ADDRESSES = st.ip_addresses(v=4).filter(lambda address: not address.is_unspecified)


def _long(items: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """Generate lists of any length; st.lists seldom makes long lists."""
    repeated = st.tuples(items, st.integers(0, most)).map(lambda drawn: [drawn[0]] * drawn[1])
    return st.lists(items, max_size=80) | repeated


@EXAMPLES
@given(
    nameservers=_long(ADDRESSES, 400),
    ntp=_long(ADDRESSES, 400),
    search=_long(DOMAINS, 300),
    prefixes=st.lists(st.integers(1, 32), max_size=60),
    largest=st.sampled_from((None, WHOLE)),
)
@example([IPv4Address("192.0.2.1")] * 70, [], [], [], None)
@example([IPv4Address("192.0.2.1")] * 56, [], ["0.0.0.00"] * 96, [1, 1, 1, 1, 17, 18], None)
@example([IPv4Address("255.255.255.254")] * 70, [], ["a." * 100 + "b"] * 9, [], WHOLE)
@example([], [], ["a" * 60 + ".example"] * 4, [9] * 60, WHOLE)
@example([IPv4Address(n) for n in range(1, 30)], [], ["corp.example"] * 9, [24] * 30, None)
def test_a_list_is_cut_to_what_fits_and_the_rest_is_reported(
    lab: Lab,
    nameservers: list[IPv4Address],
    ntp: list[IPv4Address],
    search: list[str],
    prefixes: list[int],
    largest: int | None,
) -> None:
    routes = (_route(number, prefix) for number, prefix in enumerate(prefixes))
    nic = evolve(NIC, routes=NIC.routes + tuple(dict.fromkeys(routes)))
    identity = testing.identity(
        nic,
        resolver=resolver(*map(str, nameservers), search=tuple(search)),
        ntp=tuple(ntp),
    )
    service = Service.of(identity, testing.wiring(identity))
    found = lab.offered(identity, largest)
    assert IPv4Address(found[0]) == NIC.ipv4[0].ip
    assert IPv4Address(found[3]) == IPv4Address("172.17.0.1")
    lists: dict[str, tuple[Sequence[object], Sequence[object]]] = {
        "nameservers": (_addresses(found.get(6, b"")), nameservers),
        "time servers": (_addresses(found.get(42, b"")), ntp),
        "search domains": (names(found.get(119, b"")), [name.lower() for name in search]),
    }
    lines = service.not_carried
    for label, (arrived, items) in lists.items():
        assert arrived == items[: len(arrived)]
        if largest is None and _is_lost(label, lines):
            assert not arrived
        elif arrived != items:
            cut = f"{len(items) - len(arrived)} of {len(items)} {label}, "
            assert any(line.startswith(cut) for line in lines)
    (lease,) = service.leases
    if lease.classless:
        assert (121 in found) != (largest is None and _is_lost("routes", lines))


def _route(number: int, prefix: int) -> Route:
    """Return a route that differs for each number."""
    if prefix <= 8:
        return route(f"{number + 16}.0.0.0/8", "172.17.200.200")
    network = (10 << 24) + (number << 8) & -(1 << 32 - prefix)
    return route(f"{IPv4Address(network)}/{prefix}", "172.17.200.200")


def _is_lost(label: str, lines: tuple[str, ...]) -> bool:
    return any(label in line.partition(" of ")[0].split(", ") for line in lines if "576" in line)


def _addresses(data: bytes) -> list[IPv4Address]:
    return [IPv4Address(number) for (number,) in struct.iter_unpack("!I", data)]


@EXAMPLES
@given(names=st.lists(DOMAINS, min_size=1, max_size=5))
@example(["AB--c", "XN--a", "_x", "1234", "s", "ignore", "0x10"])
def test_a_link_resolves_by_each_of_its_names(lab: Lab, names: list[str]) -> None:
    identity = testing.identity(
        NIC,
        resolver=resolver("127.0.0.11"),
        hosts=(Host(IPv4Address("172.17.0.9"), tuple(names)),),
    )
    wiring = testing.wiring(identity, nameserver="172.17.255.254/16")
    lab.container.ip("address", "replace", "172.17.255.254/16", "dev", "br0")
    with lab.serving(Service.of(identity, wiring)):
        offer(lab.guest, NIC.mac)
        for name in names:
            asked = ("busybox", "nslookup", "-type=a", f"{name}.", "172.17.255.254")
            assert "172.17.0.9" in lab.guest.run(*asked).stdout
