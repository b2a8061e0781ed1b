"""Random networks are handed over, completely or in part, and restored to the same state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.lab.command import run
from tests.lab.net import snapshot
from tests.lab.net.namespace import Namespace, namespace
from tests.lab.net.snapshot import Json, require_same
from tests.lab.wait import WAIT, until
from vmnet import testing
from vmnet.model.wiring import Redirect, Requirements, Wiring
from vmnet.net import rtnl
from vmnet.strategies.auto import plan
from vmnet.strategies.redirect import plan as redirect

# Some examples hand over eth0, some also eth1. The container keeps eth2, which can have routes too.
NICS = ("eth0", "eth1", "eth2")
# Few values, so that addresses, prefixes and gateways often match each other.
_PREFIXES = ("10.0.0.0/24", "10.0.0.0/16", "10.1.0.0/24", "10.2.0.0/16")
_PREFIXES6 = ("fd00::/64", "fd00::/56", "fd00:1::/64", "fd00:2::/48")
_HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "10.1.0.1", "10.9.0.1", "169.254.1.1")
_HOSTS6 = ("fd00::1", "fd00::2", "fd00::3", "fd00:1::1", "fd00:9::1", "fe80::9")
_TABLES = ("", "table 100", "table 1000", "table local")
_PROTOCOLS = ("", "proto static", "proto kernel", "proto bird", "proto ra")


def words(*parts: Any) -> SearchStrategy[str]:
    """Draw a line with a word from each part; empty words are left out."""
    choices = [st.sampled_from((part,) if isinstance(part, str) else part) for part in parts]
    return st.tuples(*choices).map(lambda chosen: " ".join(filter(None, chosen)))


def optional(*choices: str) -> tuple[str, ...]:
    """Return the choices with empty words, which are drawn two times out of three."""
    return (*[""] * 2 * len(choices), *choices)


def devices(*, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (*(f"dev {nic}" for nic in (*NICS, "eth0")), *more)


ADDRESSES = words(
    "address add",
    [f"{host}/{length}" for host in _HOSTS for length in (16, 24, 24, 32)],
    devices(),
    optional("brd +", "broadcast 10.0.0.77"),
    optional("scope link", "scope host"),
    optional("noprefixroute", "metric 7"),
    optional("valid_lft 900 preferred_lft 800", "valid_lft 900 preferred_lft 0"),
) | words(
    "address add",
    _HOSTS,
    "peer",
    [f"{host}/{length}" for host in _HOSTS for length in (24, 32)],
    devices(),
)
ADDRESSES6 = words(
    "address add",
    [f"{host}/{length}" for host in _HOSTS6 for length in (64, 64, 128)],
    devices(),
    optional("nodad"),
    optional("noprefixroute", "metric 7"),
    optional("home", "valid_lft 900 preferred_lft 800", "valid_lft 900 preferred_lft 0"),
)


def routes(hosts: tuple[str, ...], prefixes: tuple[str, ...]) -> SearchStrategy[str]:
    everywhere = "::/0" if ":" in hosts[0] else "0.0.0.0/0"
    destinations = (
        everywhere,
        *prefixes,
        *(f"{host}/{128 if ':' in host else 32}" for host in hosts),
    )
    lifetime = optional("expires 900") if ":" in hosts[0] else optional("scope link", "tos 4")
    single = words(
        "route",
        ("add", "append", "prepend"),
        destinations,
        ("", *(f"via {host}" for host in hosts)),
        devices(),
        optional("onlink"),
        optional(*(f"src {host}" for host in hosts)),
        optional("metric 5", "metric 256"),
        optional(*filter(None, _TABLES)),
        optional(*filter(None, _PROTOCOLS)),
        optional("mtu 1400", "advmss 900 hoplimit 9", "mtu lock 1300"),
        lifetime,
    )
    hop = words("nexthop", [f"via {host}" for host in hosts], devices(), optional("onlink"))
    several = st.tuples(
        words("route", ("add", "append"), destinations, optional("metric 5")),
        st.lists(hop, min_size=2, max_size=3).map(" ".join),
    ).map(" ".join)
    special = words(
        "route add",
        ("blackhole", "unreachable", "prohibit"),
        destinations,
        optional("metric 5"),
    ) | words("route add local", prefixes, "dev eth0 table local")
    gone = words("route del", destinations, devices())
    return st.one_of(single, single, single, several, special, gone)


def objects(hosts: tuple[str, ...], prefixes: tuple[str, ...]) -> SearchStrategy[str]:
    ids = ("1", "2", "3")
    return st.one_of(
        words("nexthop add id", ids, "via", hosts, devices(), optional("onlink")),
        words("nexthop add id", ("7", "8"), "group", ("1", "1/2", "1,3/2,9")),
        words("route add", prefixes, "nhid", (*ids, "7", "8")),
    )


NEIGHBOURS = words(
    "neighbour add", (*_HOSTS, *_HOSTS6), "lladdr 02:42:0a:00:00:63", devices(), "nud permanent"
)
NETWORKS = st.tuples(
    st.lists(ADDRESSES | ADDRESSES6, min_size=1, max_size=6),
    st.lists(
        st.one_of(
            routes(_HOSTS, _PREFIXES),
            routes(_HOSTS6, _PREFIXES6),
            objects(_HOSTS, _PREFIXES),
            objects(_HOSTS6, _PREFIXES6),
            NEIGHBOURS,
        ),
        max_size=10,
    ),
).map(lambda both: [*both[0], *both[1]])
# Links to set down: none, the other end of eth0's cable, or eth0.
LINKS = st.sampled_from(("", "", "port0", "eth0"))
STOPS = st.none() | st.integers(0, 30)


# Examples that failed once, or would fail without a part of the restoration.
LINK_LOCAL_SOURCE = [
    "address add fd00::2/64 dev eth0",
    "route add fd00:1::/64 via fe80::9 dev eth0 src fd00::2",
    "route add fd00:2::/48 via fe80::9 dev eth0 expires 900",
]
# The routes to their gateways no longer exist.
ORPHANS = [
    "address add 10.0.0.2/24 dev eth0",
    "route add 169.254.1.1 dev eth0",
    "route add default via 169.254.1.1 dev eth0",
    "route del 169.254.1.1 dev eth0",
    "route add 10.1.0.0/24 via 10.0.0.1 dev eth0",
    "route del 10.0.0.0/24 dev eth0",
]
EQUALS = [
    "address add 10.0.0.2/24 dev eth0",
    "address add 10.1.0.2/24 dev eth2",
    "route add default via 10.0.0.1 dev eth0",
    "route append default via 10.0.0.3 dev eth0",
    "route append default via 10.1.0.1 dev eth2",
    "address add fd00::2/64 dev eth0",
    "route append fd00:1::/64 dev eth0",
    "route append fd00:1::/64 dev eth2",
]
# Routes through eth2 with a source address or a hop of eth0.
SHARED = [
    "address add 10.0.0.2/24 dev eth0",
    "address add 10.1.0.2/24 dev eth2",
    "address add fd00::2/64 dev eth0",
    "address add fd00:1::2/64 dev eth2",
    "route add 10.2.0.0/16 via 10.1.0.1 dev eth2 src 10.0.0.2",
    "route add fd00:2::/48 via fd00:1::1 dev eth2 src fd00::2",
    "route add fd00:9::/64 nexthop via fd00::1 dev eth0 nexthop via fd00:1::1 dev eth2",
]
OBJECTS = [
    "address add 10.0.0.2/24 dev eth0",
    "address add 10.1.0.2/24 dev eth2",
    "nexthop add id 1 via 10.0.0.1 dev eth0",
    "nexthop add id 2 via 10.1.0.1 dev eth2",
    "nexthop add id 7 group 1,3/2",
    "route add 10.2.0.0/16 nhid 1",
    "route add 10.9.0.0/16 nhid 7",
    "neighbour add 10.0.0.1 lladdr 02:42:0a:00:00:63 dev eth0 nud permanent",
]


SETTINGS = testing.settings()


class _Killed(BaseException):
    pass


class Machine:
    """A container in a namespace; each example creates its NICs again."""

    def __init__(self, host: Namespace, container: Namespace) -> None:
        self._host, self.container = host, container

    def lay_out(self, commands: list[str], down: str) -> Json:
        """Configure the network; commands that the kernel refuses have no effect.

        Duplicate address detection is off during these commands, and on afterwards.

        :param down: the link to set down in the end
        """
        self._host.run("ip", "-force", "-batch", "-", input=self._new_nics(), check=False)
        for family in ("-4", "-6"):  # routes without a NIC, such as blackhole
            self.container.ip(family, "route", "flush", "table", "main")
        self._accept_dad(0)
        # The kernel accepts an address as a route's source only once the address has settled.
        first = [command for command in commands if command.startswith("address")]
        self._ip([*(f"link set {nic} up" for nic in NICS), *first])
        until(self._is_settled, WAIT, "the addresses to settle", interval=0.01)
        self._ip([command for command in commands if command not in first])
        self._accept_dad(1)
        if down:
            where = self.container if down in NICS else self._host
            where.ip("link", "set", down, "down")
        return self.dump()

    def _ip(self, commands: list[str]) -> None:
        """Run commands of ip(8); skip those that the kernel refuses."""
        batch = ("ip", "-n", self.container.name, "-force", "-batch", "-")
        run(*batch, input="".join(f"{command}\n" for command in commands), check=False)

    def _is_settled(self) -> bool:
        """Whether each NIC has its link-local address, and no address is tentative."""
        own = {
            address["local"]
            for address in self.container.addresses()
            if not address.get("tentative")
        }
        known = {f"fe80::42:aff:fe00:{number:x}" for number, _ in enumerate(NICS)}
        return known <= own and not snapshot.tentative(self.container.name)

    def dump(self) -> Json:
        """Return the current network, which must have no tentative address."""
        assert snapshot.tentative(self.container.name) == []
        return snapshot.take(self.container.name)

    def _new_nics(self) -> str:
        """Return the commands of ip(8) that replace all NICs."""
        lines = []
        for number, nic in enumerate(NICS):
            mac = f"02:42:0a:00:00:{number:02x}"
            peer = f"peer name {nic} netns {self.container.name} address {mac}"
            lines += [
                f"link del port{number}",
                f"link add port{number} type veth {peer}",
                f"link set port{number} up",
            ]
        return "\n".join(lines) + "\n"

    def _accept_dad(self, value: int) -> None:
        with self.container.entered():
            for nic in NICS:
                Path(f"/proc/sys/net/ipv6/conf/{nic}/accept_dad").write_text(f"{value}\n")


@contextmanager
def machine() -> Iterator[Machine]:
    with namespace("host") as host, namespace("container") as container:
        yield Machine(host, container)


# The kinds of the NICs as the strategy sees them. An ipvlan NIC keeps its addresses.
KINDS = ("veth", "macvlan", "ipvlan")


def planned(names: tuple[str, ...], kind: str) -> Wiring:
    nics = [
        testing.interface(name=name, mac=f"02:42:0a:00:00:0{NICS.index(name)}") for name in names
    ]
    identity = testing.identity(*nics)
    if kind == "veth":
        return plan.vmnet_bridge_plan(SETTINGS, identity, Requirements())
    wiring = redirect.vmnet_bridge_plan(SETTINGS, identity, Requirements())
    ports = (evolve(port, path=Redirect(kind)) for port in wiring.ports)
    return evolve(wiring, ports=tuple(ports))


@contextmanager
def killed_after(requests: int | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the block after a number of requests to the kernel, as if the process were killed.

    :param requests: the index of the last request, from 0; None to run the whole block
    """
    send, left = rtnl.Rtnl.send_body, [requests]

    def sending(kernel: rtnl.Rtnl, *arguments: Any) -> None:
        send(kernel, *arguments)
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(rtnl.Rtnl, "send_body", sending)
        with suppress(_Killed):
            yield


@pytest.mark.parametrize("kind", KINDS)
def test_any_network_is_restored(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A veth has a bridge. For the others, it is redirected as if it were of the kind."""
    with machine() as made:

        @settings(
            max_examples=min(60 if kind == "veth" else 20, settings().max_examples),
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),  # shrinking a failure takes minutes
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @example(LINK_LOCAL_SOURCE, ("eth0",), "", None, None)
        @example(ORPHANS, ("eth0",), "", None, None)
        @example(EQUALS, ("eth0",), "", None, None)
        @example(SHARED, ("eth0",), "", None, None)
        @example(OBJECTS, ("eth0",), "", None, None)
        @given(
            commands=NETWORKS,
            names=st.sampled_from((("eth0",), ("eth0", "eth1"))),
            down=LINKS,
            built=STOPS,
            restored=STOPS,
        )
        def check(
            commands: list[str],
            names: tuple[str, ...],
            down: str,
            built: int | None,
            restored: int | None,
        ) -> None:
            before = made.lay_out(commands, down)
            with made.container.entered():
                wiring = planned(names, kind)
                with killed_after(built, monkeypatch):
                    plan.vmnet_bridge_build(SETTINGS, wiring)
                with killed_after(restored, monkeypatch):
                    plan.vmnet_bridge_restore(SETTINGS, wiring)
                plan.vmnet_bridge_restore(SETTINGS, wiring)
            require_same(before, made.dump())

        check()
