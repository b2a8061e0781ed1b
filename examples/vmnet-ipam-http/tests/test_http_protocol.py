"""Answers of the service: which are valid, and the identity that results."""

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

from tests.lab.ipam.http import FOLDER
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


def refused(answer: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        merged(answer)


def test_a_full_answer() -> None:
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
def test_omitted_parts_stay_as_captured(answer: Any) -> None:
    assert merged(answer) == CAPTURED


def test_empty_parts_remove_what_was_captured() -> None:
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


def test_addresses_alone_keep_the_routes_if_they_are_reachable() -> None:
    identity = merged(nic(addresses=["172.17.9.9/16"]))
    assert identity.interfaces[0].routes == CAPTURED.interfaces[0].routes
    refused(
        nic(addresses=["10.20.0.7/24"]),
        "eth0: route to 0.0.0.0/0 via 172.17.0.1: the gateway is in no subnet of the interface, "
        "and the route is not onlink, as captured: new addresses need new routes, too",
    )
    refused(nic(addresses=["2001:db8::7/64"]), "eth0 has no IPv4 address, as captured")


def test_a_captured_source_is_removed_with_its_address() -> None:
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


def test_a_gateway_outside_the_subnet() -> None:
    off_link = {"destination": "0.0.0.0/0", "gateway": "169.254.1.1"}
    direct = {"destination": "169.254.1.1/32"}
    refused(nic(addresses=["10.1.0.9/32"], routes=[off_link]), "the route is not onlink")
    (route,) = (
        merged(nic(addresses=["10.1.0.9/32"], routes=[{**off_link, "onlink": True}]))
        .interfaces[0]
        .routes
    )
    assert route.onlink
    both = merged(nic(addresses=["10.1.0.9/32"], routes=[direct, off_link])).interfaces[0].routes
    assert [route.onlink for route in both] == [False, False]
    on_link = {"destination": "0.0.0.0/0", "gateway": "10.1.0.1", "onlink": True}
    (route,) = merged(nic(addresses=["10.1.0.9/24"], routes=[on_link])).interfaces[0].routes
    assert not route.onlink, "onlink means that no subnet contains the gateway"


def test_a_router_that_is_no_gateway_any_more_is_dropped() -> None:
    known = Router(IPv6Address("fd00::1"), IPv6Address("fe80::1"), "02:00:00:00:00:01")
    via = testing.route("::/0", "fd00::1")
    captured = testing.identity(testing.interface("fd00::2/64", routes=(via,), router=known))
    assert merged(nic(addresses=["fd00::7/64"]), captured).interfaces[0].router == known
    new = nic(routes=[{"destination": "::/0", "gateway": "fd00::ff"}])
    assert merged(new, captured).interfaces[0].router is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "[] is not an object @ $"),
        (None, "null is not an object"),
        ("x", '"x" is not an object'),
        ({"interface": []}, "unknown member 'interface' (did you mean 'interfaces'?)"),
        (nic(adresses=[]), "unknown member 'adresses' (did you mean 'addresses'?) @ $.interfaces"),
        ({"interfaces": {}}, "{} is not a list @ $.interfaces"),
        ({"interfaces": [{}]}, "the member 'name' is missing @ $.interfaces[0]"),
        ({"interfaces": [{"name": "eth7"}]}, "there is no 'eth7', only eth0, eth1"),
        ({"interfaces": [{"name": "eth0"}] * 2}, "interfaces: eth0 occurs 2 times"),
        ({"hostname": 5}, "5 is not a text @ $.hostname"),
        ({"hostname": "a.b"}, "hostname: 'a.b' is not a host name"),
        ({"hostname": ""}, "not a host name"),
        ({"hostname": "web\nip=evil"}, "not a host name"),
        ({"hostname": "x" * 254}, "a text has 254 characters"),
        ({"domain": "a..b"}, "domain: 'a..b' is not a domain name"),
        ({"search": ["a b"]}, "search: 'a b' is not a domain name"),
        ({"search": ["a.test", "a.test."]}, "search: a.test occurs 2 times"),
        ({"nameservers": "10.0.0.1"}, '"10.0.0.1" is not a list'),
        ({"nameservers": ["10.0.0.1", "10.0.0.1"]}, "nameservers: 10.0.0.1 occurs 2 times"),
        ({"nameservers": ["127.0.0.11"]}, "nameservers: 127.0.0.11 is not the address of a server"),
        ({"nameservers": [167772161]}, "167772161 is not a text @ $.nameservers[0]"),
        ({"nameservers": ["fe80::1%eth0\nserver=evil"]}, "is not an IP address"),
        ({"ntp": ["0.0.0.0"]}, "ntp: 0.0.0.0 is not the address"),
        ({"ntp": ["10.0.0.1"] * 257}, "a list has 257 entries, but at most 256 are allowed"),
        ({"hosts": [{"address": "10.0.0.1", "names": []}]}, "hosts: 10.0.0.1 has no name"),
        ({"hosts": [{"address": "10.0.0.1", "names": ["a\tb"]}]}, "is not a domain name"),
        ({"hosts": [{"address": "::1", "names": ["a"]}]}, "hosts: ::1 is not a host address"),
        (nic(addresses=["10.20.0.7"]), '"10.20.0.7" is not an address with prefix'),
        (nic(addresses=["10.20.0.7/255.255.255.0"]), "is not an address with prefix"),
        (nic(addresses=["10.20.0.7/33"]), "is not an address with prefix"),
        (nic(addresses=["10.20.0.0/24"]), "eth0: 10.20.0.0/24 is not a host address"),
        (nic(addresses=["10.20.0.255/24"]), "not a host address"),
        (nic(addresses=["10.20.0.7/0"]), "not a host address"),
        (nic(addresses=["127.0.0.1/8"]), "not a host address"),
        (nic(addresses=["169.254.7.7/16"]), "not a host address"),
        (nic(addresses=["fe80::7/64"]), "not a host address"),
        (nic(addresses=["::ffff:10.0.0.1/128"]), "not a host address"),
        (nic(addresses=["224.0.0.7/24"]), "not a host address"),
        (nic(addresses=["0.1.2.3/24"]), "not a host address"),
        (nic(addresses=["172.17.0.2/16", "172.17.0.2/24"]), "addresses: 172.17.0.2 occurs 2"),
        (nic(addresses=["10.9.0.4/24"], routes=[]), "addresses: 10.9.0.4 occurs 2 times"),
        (nic(routes=[DEFAULT]), "the gateway is in no subnet"),
        (nic(routes=[{"destination": "10.0.0.1/8"}]), "is not a network with prefix"),
        (nic(routes=[{"destination": "default"}]), "is not a network with prefix"),
        (nic(routes=[{}]), "the member 'destination' is missing @ $.interfaces[0].routes[0]"),
        (nic(routes=[{"destination": "10.0.0.0/8"}] * 2), "occurs 2 times"),
        (nic(routes=[{"destination": "224.0.0.0/4"}]), "the destination is multicast or loopback"),
        (nic(routes=[{"destination": "::/0", "gateway": "172.17.0.1"}]), "the other IP version"),
        (
            nic(routes=[{"destination": "10.0.0.0/8", "gateway": "172.17.0.2"}]),
            "the gateway is not another machine",
        ),
        (nic(routes=[{"destination": "10.0.0.0/8", "onlink": True}]), "onlink needs a gateway"),
        (nic(routes=[{"destination": "10.0.0.0/8", "onlink": 1}]), "1 is not true or false"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": -1}]), "-1 is not from 0"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": 1.0}]), "1.0 is not a whole number"),
        (nic(routes=[{"destination": "10.0.0.0/8", "metric": True}]), "true is not a whole"),
        (nic(routes=[{"destination": "10.0.0.0/8", "mtu": 7}]), "the mtu 7 is not from 68"),
        (nic(routes=[{"destination": "10.0.0.0/8", "source": "10.5.5.5"}]), "source 10.5.5.5"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_invalid_answers(answer: Any, reason: str) -> None:
    refused(answer, reason)


# Any JSON, and nearly valid answers, which reach more of the code.
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
PREFIXES = st.builds(lambda ip, bits: f"{ip}/{bits}", st.ip_addresses(), st.integers(-1, 129))
NETWORKS = st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "fd00::/8", "10.0.0.1/8"]) | PREFIXES


def members(**values: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    optional = {key: value | ANY_JSON for key, value in values.items()}
    return st.fixed_dictionaries({}, optional=optional)


def lists(entries: SearchStrategy[Any]) -> SearchStrategy[list[Any]]:
    return st.lists(entries, max_size=4)


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
    """Return the full answer with a member changed."""
    return st.sampled_from(sorted(FULL)).map(lambda key: {**FULL, key: change(FULL[key])})


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
@example(FULL)
def test_every_answer_gives_a_valid_identity_or_is_refused(answer: Any) -> None:
    try:
        identity = merged(answer)
    except ValueError:
        return
    assert is_label(identity.hostname)
    for name in (*identity.resolver.search, *filter(None, [identity.domain])):
        assert is_domain(name)
    for host in identity.hosts:
        assert all(map(is_domain, host.names))
    assert [interface.name for interface in identity.interfaces] == ["eth0", "eth1"]
    for interface in identity.interfaces:
        for address in interface.addresses:
            assert "%" not in str(address)
        for route in interface.routes:
            assert route.gateway is None or route.gateway.version == route.destination.version
    _deliver(identity)


def _deliver(identity: Identity) -> None:
    """Check that the strategies that deliver can write the identity."""
    settings = testing.settings({}, *vmnet_dnsmasq.vmnet_settings())
    wiring = testing.wiring(identity)
    cloudinit_settings = testing.settings({}, *vmnet_cloudinit.vmnet_settings())
    vmnet_cloudinit.vmnet_ipam_deliver(cloudinit_settings, identity, wiring)
    delivery = vmnet_dnsmasq.vmnet_ipam_deliver(settings, identity, wiring)
    for file in delivery.files:
        assert all(part.isprintable() for part in re.split("[\n\t]", file.content.decode()))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(ValueError):
        protocol.read(body)


DOCUMENT = yaml.safe_load((FOLDER / "openapi.yaml").read_text())


def schema(name: str) -> jsonschema.Draft202012Validator:
    """Return a validator for a schema of openapi.yaml (OpenAPI 3.1 uses JSON Schema 2020-12)."""
    reference = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])
    return jsonschema.Draft202012Validator(reference)


ALLOCATION = schema("Allocation")


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
@example(FULL)
@example(dict.fromkeys(FULL))
def test_the_schema_accepts_all_that_the_code_accepts(answer: Any) -> None:
    """The code accepts less, because a pattern can't check an address."""
    try:
        protocol.read(json.dumps(answer).encode())
    except ValueError:
        return
    ALLOCATION.validate(json.loads(json.dumps(answer)))


# Rules that a schema can't express well, and that only the code checks.
_CODE_ONLY = ("is not an IP address", "an address with prefix", "a network with prefix", "not JSON")


@given(ANSWERS | ANY_JSON | TEXTS.flatmap(lambda text: mutated(lambda _: text)))
def test_the_code_accepts_all_that_the_schema_accepts(answer: Any) -> None:
    document = json.loads(json.dumps(answer))
    if not ALLOCATION.is_valid(document):
        return
    try:
        protocol.read(json.dumps(answer).encode())
    except ValueError as error:
        assert any(rule in str(error) for rule in _CODE_ONLY)  # noqa: PT017


def test_the_schema_has_the_same_members_as_the_code() -> None:
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
    fields = (field.name for field in cls.__attrs_attrs__)
    return sorted(fields, key=lambda name: order.get(name, 0))


@pytest.mark.parametrize("identity", [CAPTURED, testing.identity(), merged(FULL)])
def test_the_request_matches_its_schema(identity: Identity) -> None:
    schema("Question").validate(protocol.question(identity))


def test_the_code_retries_the_documented_statuses() -> None:
    methods = DOCUMENT["paths"]["/v1/allocations/{id}"]
    for method in ("put", "delete"):
        responses = methods[method]["responses"]
        busy = {int(status) for status, value in responses.items() if "Busy" in str(value)}
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


def test_the_readme_lists_the_settings() -> None:
    text = (FOLDER / "README.md").read_text()
    table = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `VMNET_")]
    assert table == [row.name for row in vmnet_settings()]


def test_the_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text())
    assert links
    assert not [link for link in links if "://" not in link and not (FOLDER / link).exists()]
