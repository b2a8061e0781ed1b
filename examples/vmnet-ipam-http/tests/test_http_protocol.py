"""What an answer may say, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any

import jsonschema
import pytest
import vmnet_cloudinit
import vmnet_dnsmasq
import yaml
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from vmnet_ipam_http import merge, protocol, vmnet_settings
from vmnet_ipam_http.exchange import TRANSIENT

from tests.lab.ipam_http import FOLDER
from vmnet import testing
from vmnet.api import Host, Identity, Route, Router, is_domain, is_label

CAPTURED = testing.identity(
    testing.interface("172.17.0.2/16", "fd00::2/64", gateway="172.17.0.1"),
    testing.interface("10.9.0.4/24", name="eth1"),
    domain="example.org",
    hosts=(Host(IPv6Address("fd00::9"), ("db",)),),
    resolver=testing.resolver("192.0.2.53", search=("example.org",), options=("ndots:2",)),
)
DEFAULT = {"destination": "0.0.0.0/0", "gateway": "10.20.0.1"}
FULL: dict[str, Any] = {
    "hostname": "db-7",
    "domain": "vm.example.org",
    "interfaces": [
        {
            "name": "eth0",
            "addresses": ["10.20.0.7/24", "2001:db8:20::7/64"],
            "routes": [
                {"destination": "10.0.0.0/8", "gateway": "10.20.0.254", "metric": 50, "mtu": 1400},
                DEFAULT,
                {"destination": "::/0", "gateway": "fe80::1", "source": "2001:db8:20::7"},
            ],
        },
        {"name": "eth1", "addresses": ["10.9.0.9/32"], "routes": [], "x-pool": "b"},
    ],
    "nameservers": ["10.20.0.53", "2001:db8::53"],
    "search": ["vm.example.org", "example.org."],
    "hosts": [{"address": "10.20.0.9", "names": ["db", "db.example.org"]}],
    "ntp": ["10.20.0.123"],
    "x-rack": {"any": ["thing"]},
}


def merged(answer: Any, captured: Identity = CAPTURED) -> Identity:
    return merge.merge(captured, protocol.read(json.dumps(answer).encode()))


def nic(**changes: Any) -> dict[str, Any]:
    return {"interfaces": [{"name": "eth0", **changes}]}


def refused(answer: Any, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        merged(answer)


def test_all_of_it() -> None:
    identity = merged(FULL)
    assert identity == testing.identity(
        evolve(
            CAPTURED.interfaces[0],
            addresses=testing.interface("10.20.0.7/24", "2001:db8:20::7/64").addresses,
            routes=(
                testing.route("10.0.0.0/8", "10.20.0.254", metric=50, mtu=1400),
                testing.route("0.0.0.0/0", "10.20.0.1"),
                testing.route("::/0", "fe80::1", source=IPv6Address("2001:db8:20::7")),
            ),
        ),
        evolve(CAPTURED.interfaces[1], addresses=testing.interface("10.9.0.9/32").addresses),
        hostname="db-7",
        domain="vm.example.org",
        resolver=testing.resolver(
            "10.20.0.53",
            "2001:db8::53",
            search=("vm.example.org", "example.org"),
            options=("ndots:2",),
        ),
        hosts=(Host(testing.route("0.0.0.0/0", "10.20.0.9").gateway, ("db", "db.example.org")),),  # type: ignore[arg-type]
        ntp=testing.resolver("10.20.0.123").nameservers,
    )


@pytest.mark.parametrize("answer", [{}, dict.fromkeys(FULL), nic(), nic(addresses=None)])
def test_what_is_not_said_stays_as_captured(answer: Any) -> None:
    assert merged(answer) == CAPTURED


def test_what_is_empty_is_none() -> None:
    answer = {
        **{name: [] for name in ("nameservers", "search", "hosts", "ntp")},
        "domain": "",
        **nic(addresses=[], routes=[]),
    }
    identity = merged(answer)
    assert (identity.domain, identity.hosts) == ("", ())
    assert identity.resolver == evolve(testing.resolver(), options=("ndots:2",))
    assert (identity.interfaces[0].addresses, identity.interfaces[0].routes) == ((), ())
    assert identity.interfaces[1] == CAPTURED.interfaces[1]


def test_addresses_alone_keep_the_routes_they_can_use() -> None:
    identity = merged(nic(addresses=["172.17.9.9/16"]))
    assert identity.interfaces[0].routes == CAPTURED.interfaces[0].routes
    refused(
        nic(addresses=["10.20.0.7/24"]),
        "eth0: route to 0.0.0.0/0 via 172.17.0.1: its gateway is in no subnet of the interface, "
        "and the route is not onlink, as captured: new addresses take new routes, too",
    )
    refused(nic(addresses=["2001:db8::7/64"]), "eth0 has no IPv4 address, as captured")


def test_a_captured_source_goes_with_its_address() -> None:
    source = CAPTURED.interfaces[0].addresses[0].ip
    route = testing.route("10.0.0.0/8", "172.17.0.1", source=source)
    captured = testing.identity(testing.interface("172.17.0.2/16", routes=(route,)))
    (kept,) = merged(nic(addresses=["172.17.0.2/24"]), captured).interfaces[0].routes
    assert kept.source == source
    (changed,) = merged(nic(addresses=["172.17.0.3/24"]), captured).interfaces[0].routes
    assert changed.source is None


def test_routes_alone_keep_the_addresses() -> None:
    identity = merged(nic(routes=[{"destination": "0.0.0.0/0", "gateway": "172.17.0.254"}]))
    assert identity.interfaces[0].addresses == CAPTURED.interfaces[0].addresses
    assert identity.interfaces[0].routes == (testing.route("0.0.0.0/0", "172.17.0.254"),)


def test_a_gateway_out_of_the_subnet() -> None:
    far = {"destination": "0.0.0.0/0", "gateway": "169.254.1.1"}
    direct = {"destination": "169.254.1.1/32"}
    refused(nic(addresses=["10.1.0.9/32"], routes=[far]), "the route is not onlink")
    (one,) = (
        merged(nic(addresses=["10.1.0.9/32"], routes=[{**far, "onlink": True}]))
        .interfaces[0]
        .routes
    )
    assert one.onlink
    both = merged(nic(addresses=["10.1.0.9/32"], routes=[direct, far])).interfaces[0].routes
    assert [one.onlink for one in both] == [False, False]
    near = {"destination": "0.0.0.0/0", "gateway": "10.1.0.1", "onlink": True}
    (one,) = merged(nic(addresses=["10.1.0.9/24"], routes=[near])).interfaces[0].routes
    assert not one.onlink, "onlink says that no subnet holds the gateway"


def test_a_router_that_is_none_any_more_is_forgotten() -> None:
    known = Router(IPv6Address("fd00::1"), IPv6Address("fe80::1"), "02:00:00:00:00:01")
    via = testing.route("::/0", "fd00::1")
    captured = testing.identity(testing.interface("fd00::2/64", routes=(via,), router=known))
    assert merged(nic(addresses=["fd00::7/64"]), captured).interfaces[0].router == known
    new = nic(routes=[{"destination": "::/0", "gateway": "fd00::ff"}])
    assert merged(new, captured).interfaces[0].router is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "[] is not an object @ $"),
        (None, "null is not an object"),
        ("x", '"x" is not an object'),
        ({"interface": []}, "unknown member 'interface' (did you mean 'interfaces'?)"),
        (nic(adresses=[]), "unknown member 'adresses' (did you mean 'addresses'?) @ $.interfaces"),
        ({"interfaces": {}}, "{} is not a list @ $.interfaces"),
        ({"interfaces": [{}]}, "the member 'name' is missing @ $.interfaces[0]"),
        ({"interfaces": [{"name": "eth7"}]}, "there is no 'eth7', only eth0, eth1"),
        ({"interfaces": [{"name": "eth0"}] * 2}, "interfaces: eth0 is there 2 times"),
        ({"hostname": 5}, "5 is not a text @ $.hostname"),
        ({"hostname": "a.b"}, "hostname: 'a.b' is no host name"),
        ({"hostname": ""}, "no host name"),
        ({"hostname": "web\nip=evil"}, "no host name"),
        ({"hostname": "x" * 254}, "a text of 254 characters"),
        ({"domain": "a..b"}, "domain: 'a..b' is no domain name"),
        ({"search": ["a b"]}, "search: 'a b' is no domain name"),
        ({"search": ["a.test", "a.test."]}, "search: a.test is there 2 times"),
        ({"nameservers": "10.0.0.1"}, '"10.0.0.1" is not a list'),
        ({"nameservers": ["10.0.0.1", "10.0.0.1"]}, "nameservers: 10.0.0.1 is there 2 times"),
        ({"nameservers": ["127.0.0.11"]}, "nameservers: 127.0.0.11 is no address of a server"),
        ({"nameservers": [167772161]}, "167772161 is not a text @ $.nameservers[0]"),
        ({"nameservers": ["fe80::1%eth0\nserver=evil"]}, "is not an IP address"),
        ({"ntp": ["0.0.0.0"]}, "ntp: 0.0.0.0 is no address"),
        ({"ntp": ["10.0.0.1"] * 257}, "a list of 257 entries, where 256 is the most"),
        ({"hosts": [{"address": "10.0.0.1", "names": []}]}, "hosts: 10.0.0.1 has no name"),
        ({"hosts": [{"address": "10.0.0.1", "names": ["a\tb"]}]}, "is no domain name"),
        ({"hosts": [{"address": "::1", "names": ["a"]}]}, "hosts: ::1 is no address of a host"),
        (nic(addresses=["10.20.0.7"]), '"10.20.0.7" is not an address with prefix'),
        (nic(addresses=["10.20.0.7/255.255.255.0"]), "is not an address with prefix"),
        (nic(addresses=["10.20.0.7/33"]), "is not an address with prefix"),
        (nic(addresses=["10.20.0.0/24"]), "eth0: 10.20.0.0/24 is no address of a host"),
        (nic(addresses=["10.20.0.255/24"]), "no address of a host"),
        (nic(addresses=["10.20.0.7/0"]), "no address of a host"),
        (nic(addresses=["127.0.0.1/8"]), "no address of a host"),
        (nic(addresses=["169.254.7.7/16"]), "no address of a host"),
        (nic(addresses=["fe80::7/64"]), "no address of a host"),
        (nic(addresses=["::ffff:10.0.0.1/128"]), "no address of a host"),
        (nic(addresses=["224.0.0.7/24"]), "no address of a host"),
        (nic(addresses=["0.1.2.3/24"]), "no address of a host"),
        (nic(addresses=["172.17.0.2/16", "172.17.0.2/24"]), "addresses: 172.17.0.2 is there 2"),
        (nic(addresses=["10.9.0.4/24"], routes=[]), "addresses: 10.9.0.4 is there 2 times"),
        (nic(routes=[DEFAULT]), "its gateway is in no subnet"),
        (nic(routes=[{"destination": "10.0.0.1/8"}]), "is not a network with prefix"),
        (nic(routes=[{"destination": "default"}]), "is not a network with prefix"),
        (nic(routes=[{}]), "the member 'destination' is missing @ $.interfaces[0].routes[0]"),
        (nic(routes=[{"destination": "10.0.0.0/8"}] * 2), "is there 2 times"),
        (nic(routes=[{"destination": "224.0.0.0/4"}]), "nothing is routed there"),
        (nic(routes=[{"destination": "::/0", "gateway": "172.17.0.1"}]), "the other IP version"),
        (
            nic(routes=[{"destination": "10.0.0.0/8", "gateway": "172.17.0.2"}]),
            "its gateway is no other machine",
        ),
        (nic(routes=[{"destination": "10.0.0.0/8", "onlink": True}]), "onlink takes a gateway"),
        (nic(routes=[{"destination": "10.0.0.0/8", "onlink": 1}]), "1 is not true or false"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": -1}]), "-1 is not from 0"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": 1.0}]), "1.0 is not a whole number"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": True}]), "true is not a whole"),
        (nic(routes=[{"destination": "10.0.0.0/8", "mtu": 7}]), "its mtu 7 is not from 68"),
        (nic(routes=[{"destination": "10.0.0.0/8", "source": "10.5.5.5"}]), "source 10.5.5.5"),
    ],
    ids=lambda one: str(one)[:60],
)
def test_what_makes_no_sense(answer: Any, why: str) -> None:
    refused(answer, why)


# Any JSON, and answers that are nearly right: the latter get further.
ANY_JSON: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
SHARP = st.sampled_from(
    [
        "\n",
        "\0",
        "a\nb",
        "%",
        "fe80::1%a\nb",
        "/",
        ",",
        "#",
        "'",
        '"',
        "\ud800",
        "\u0430",
        "a b",
        "-x",
    ]
)
TEXTS = SHARP | st.text(max_size=6) | st.sampled_from(["web", "example.org", "eth0", "eth1"])
IPS = st.ip_addresses().map(str) | TEXTS
PREFIXES = st.builds(lambda one, bits: f"{one}/{bits}", st.ip_addresses(), st.integers(-1, 129))
NETWORKS = st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "fd00::/8", "10.0.0.1/8"]) | PREFIXES


def members(**of: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={key: one | ANY_JSON for key, one in of.items()})


def lists(of: SearchStrategy[Any]) -> SearchStrategy[list[Any]]:
    return st.lists(of, max_size=4)


ROUTES = members(
    destination=NETWORKS,
    gateway=IPS,
    onlink=st.booleans(),
    metric=st.integers(),
    source=IPS,
    mtu=st.integers(0, 1 << 17),
)
ANSWERS = members(
    hostname=TEXTS,
    domain=TEXTS,
    interfaces=lists(members(name=TEXTS, addresses=lists(PREFIXES | TEXTS), routes=lists(ROUTES))),
    nameservers=lists(IPS),
    search=lists(TEXTS),
    hosts=lists(members(address=IPS, names=lists(TEXTS))),
    ntp=lists(IPS),
)


def mutated(change: Callable[[Any], Any]) -> SearchStrategy[Any]:
    """The full answer with one of its leaves replaced."""
    return st.sampled_from(sorted(FULL)).map(lambda key: {**FULL, key: change(FULL[key])})


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
@example(FULL)
def test_no_answer_does_anything_else_than_be_taken_or_refused(answer: Any) -> None:
    try:
        identity = merged(answer)
    except ValueError:
        return
    assert is_label(identity.hostname)
    for name in (*identity.resolver.search, *filter(None, [identity.domain])):
        assert is_domain(name)
    for host in identity.hosts:
        assert all(map(is_domain, host.names))
    assert [one.name for one in identity.interfaces] == ["eth0", "eth1"]
    for interface in identity.interfaces:
        for own in interface.addresses:
            assert "%" not in str(own)
        for route in interface.routes:
            assert route.gateway is None or route.gateway.version == route.destination.version
    _deliver(identity)


def _deliver(identity: Identity) -> None:
    """The strategies that hand it over write it as they would a container's."""
    settings, wiring = testing.settings({}), testing.wiring(identity)
    given = testing.settings({}, *vmnet_cloudinit.vmnet_settings())
    vmnet_cloudinit.vmnet_ipam_deliver(given, identity, wiring)
    delivery = vmnet_dnsmasq.vmnet_ipam_deliver(settings, identity, wiring)
    for file in delivery.files:
        assert all(one.isprintable() for one in re.split("[\n\t]", file.content.decode()))


@given(st.binary(max_size=300))
def test_no_bytes_do_either(body: bytes) -> None:
    with suppress(ValueError):
        protocol.read(body)


DOCUMENT = yaml.safe_load((FOLDER / "openapi.yaml").read_text())


def schema(name: str) -> jsonschema.Draft202012Validator:
    """A schema of openapi.yaml: OpenAPI 3.1 has those of JSON Schema 2020-12."""
    found = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])
    return jsonschema.Draft202012Validator(found)


ALLOCATION = schema("Allocation")


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
@example(FULL)
@example(dict.fromkeys(FULL))
def test_the_schema_takes_whatever_the_code_takes(answer: Any) -> None:
    """The code takes less: no pattern tells whether an address is one."""
    try:
        protocol.read(json.dumps(answer).encode())
    except ValueError:
        return
    ALLOCATION.validate(json.loads(json.dumps(answer)))


# What a schema can't say well, and the code alone refuses.
_BEYOND = ("is not an IP address", "an address with prefix", "a network with prefix", "no JSON")


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
def test_the_code_takes_whatever_the_schema_takes(answer: Any) -> None:
    document = json.loads(json.dumps(answer))
    if not ALLOCATION.is_valid(document):
        return
    try:
        protocol.read(json.dumps(answer).encode())
    except ValueError as error:
        assert any(one in str(error) for one in _BEYOND)  # noqa: PT017


def test_the_schema_has_the_code_s_members_and_no_others() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name, cls in (
        ("Allocation", protocol.IdentityAnswer),
        ("Interface", protocol.InterfaceAnswer),
        ("Route", Route),
        ("Host", Host),
    ):
        assert list(schemas[name]["properties"]) == _fields(cls), name


def _fields(cls: type[Any]) -> list[str]:
    order = {"hostname": -2, "domain": -1}
    return sorted((one.name for one in cls.__attrs_attrs__), key=lambda one: order.get(one, 0))


@pytest.mark.parametrize("identity", [CAPTURED, testing.identity(), merged(FULL)])
def test_the_question_is_of_its_schema(identity: Identity) -> None:
    schema("Question").validate(protocol.question(identity))


def test_statuses_are_those_of_the_code() -> None:
    methods = DOCUMENT["paths"]["/v1/allocations/{id}"]
    for method in ("put", "delete"):
        busy = {int(s) for s, one in methods[method]["responses"].items() if "Busy" in str(one)}
        assert busy == TRANSIENT


def _blocks(language: str) -> list[str]:
    text = (FOLDER / "README.md").read_text()
    return [part.partition("```")[0] for part in text.split(f"```{language}\n")[1:]]


def test_the_readme_s_examples() -> None:
    question, smallest, whole, problem = map(json.loads, _blocks("json"))
    schema("Question").validate(question)
    for answer in (smallest, whole):
        ALLOCATION.validate(answer)
    captured = testing.identity(testing.interface("172.17.0.2/16", gateway="172.17.0.1"))
    assert protocol.question(captured) == question
    assert merged(smallest, captured) != captured
    assert merged(whole, captured).ntp
    schema("Problem").validate(problem)


def test_the_readme_s_variables_are_the_code_s() -> None:
    text = (FOLDER / "README.md").read_text()
    table = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `VMNET_")]
    assert table == [row.name for row in vmnet_settings()]


def test_the_readme_s_links_lead_somewhere() -> None:
    found = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text())
    assert found
    assert not [one for one in found if "://" not in one and not (FOLDER / one).exists()]
