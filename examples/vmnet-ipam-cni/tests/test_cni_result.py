"""Results of plugins: validation, and merging into the container's identity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vmnet_ipam_cni import merge, result

from tests.lab.ipam.cni import result as document_of
from vmnet import testing
from vmnet.api import Identity, Interface, Resolver, Route, from_json, to_json

V1 = "1.0.0"


def read(document: Any, version: str = V1) -> result.Result:
    return result.read(document, version, "eth0")


def merged(document: Any, own: Identity | None = None) -> Identity:
    return merge.merge(own or testing.identity(), {"eth0": read(document)})


def eth0(document: Any) -> Interface:
    return merged(document).interfaces[0]


def test_allocations_replace_the_container_s_addresses_and_routes() -> None:
    own = testing.identity()
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.9.1.2/16", "gw": "10.5.0.3"}]
    document = document_of(routes=routes)
    document["ips"] = [{"address": "10.5.0.2/24", "gateway": "10.5.0.1"}]
    found = merged(document, own)
    (nic,) = found.interfaces
    assert nic.addresses == (ip_interface("10.5.0.2/24"),)
    assert nic.routes == (
        testing.route("0.0.0.0/0", "10.5.0.1"),
        testing.route("10.9.0.0/16", "10.5.0.3"),
    )
    before = own.interfaces[0]
    assert (nic.name, nic.mac, nic.mtu) == (before.name, before.mac, before.mtu)
    assert (found.hostname, found.resolver, found.hosts) == (own.hostname, own.resolver, own.hosts)


def test_each_ip_version_has_its_gateway() -> None:
    document = document_of(routes=[{"dst": "::/0"}, {"dst": "0.0.0.0/0"}])
    document["ips"] = [
        {"address": "10.5.0.2/24", "gateway": "10.5.0.1"},
        {"address": "2001:db8::2/64", "gateway": "2001:db8::1"},
    ]
    assert eth0(document).routes == (
        testing.route("::/0", "2001:db8::1"),
        testing.route("0.0.0.0/0", "10.5.0.1"),
    )


def test_cni_0_4_0_results_have_an_ip_version() -> None:
    document = {
        "cniVersion": "0.4.0",
        "ips": [{"version": "4", "address": "10.5.0.2/24", "gateway": "10.5.0.1"}],
    }
    assert read(document, "0.4.0").addresses[0].gateway == ip_address("10.5.0.1")
    document["ips"][0]["version"] = "6"  # type: ignore[index]
    with pytest.raises(ValueError, match="has the wrong IP version '6'"):
        read(document, "0.4.0")


def test_a_gateway_outside_the_subnet_gets_an_onlink_route() -> None:
    document = document_of("10.5.0.2/32", routes=[{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}])
    assert eth0(document).routes == (testing.route("0.0.0.0/0", "169.254.1.1", onlink=True),)
    document = document_of("2001:db8::2/128", routes=[{"dst": "::/0", "gw": "fe80::1"}])
    assert eth0(document).routes == (testing.route("::/0", "fe80::1"),)


@pytest.mark.parametrize(
    "more", [{"gw": "0.0.0.0"}, {"scope": 253}, {"gw": "10.5.0.7", "scope": 253}]
)
def test_an_on_link_route_has_no_gateway(more: dict[str, Any]) -> None:
    document = document_of(routes=[{"dst": "10.6.0.0/16", **more}])
    document["ips"] = [{"address": "10.5.0.2/24", "gateway": "10.5.0.1"}]
    assert eth0(document).routes == (testing.route("10.6.0.0/16"),)


def test_a_route_s_metric_and_mtu() -> None:
    routes = [{"dst": "10.6.0.0/16", "gw": "10.5.0.1", "priority": 50, "mtu": 1400, "table": 254}]
    assert eth0(document_of("10.5.0.2/24", routes=routes)).routes == (
        testing.route("10.6.0.0/16", "10.5.0.1", metric=50, mtu=1400),
    )


def test_no_gateway_is_invented(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    document = document_of(routes=[{"dst": "::/0"}])
    document["ips"] = [{"address": "10.5.0.2/24", "gateway": "10.5.0.1"}]
    assert eth0(document).routes == ()
    assert "eth0: no IPv4 default route was allocated" in caplog.text
    dropped = "eth0: the route to ::/0 is dropped, because no IPv6 address was allocated"
    assert dropped in caplog.text


@pytest.mark.parametrize(
    ("dns", "domain", "resolver"),
    [
        ({}, "lan.test", testing.resolver("192.0.2.53", search=("lan.test",))),
        (
            {"nameservers": ["10.5.0.53", "2001:db8::53"], "options": ["ndots:2"]},
            "lan.test",
            testing.resolver(
                "10.5.0.53", "2001:db8::53", search=("lan.test",), options=("ndots:2",)
            ),
        ),
        (
            {"domain": "site.test."},
            "site.test",
            testing.resolver("192.0.2.53", search=("site.test.",)),
        ),
        (
            {"domain": "site.test", "search": ["a.test", "b.test"]},
            "site.test",
            testing.resolver("192.0.2.53", search=("a.test", "b.test")),
        ),
    ],
)
def test_parts_of_dns_replace_the_container_s(
    dns: dict[str, Any], domain: str, resolver: Resolver
) -> None:
    own = testing.identity(
        domain="lan.test", resolver=testing.resolver("192.0.2.53", search=("lan.test",))
    )
    found = merged(document_of("10.5.0.2/24", dns=dns), own)
    assert (found.domain, found.resolver) == (domain, resolver)


def test_addresses_of_other_interfaces_are_ignored() -> None:
    links = [{"name": "veth0"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}]
    document = document_of(interfaces=links)
    document["ips"] = [
        {"address": "10.5.0.2/24", "interface": 1},
        {"address": "10.6.0.2/24", "interface": 0},
    ]
    assert eth0(document).addresses == (ip_interface("10.5.0.2/24"),)


def with_ip(**entry: Any) -> dict[str, Any]:
    return document_of(ips=[{"address": "10.5.0.2/24", **entry}])


def with_route(**entry: Any) -> dict[str, Any]:
    return document_of("10.5.0.2/24", routes=[{"dst": "10.6.0.0/16", **entry}])


def with_dns(**entry: Any) -> dict[str, Any]:
    return document_of("10.5.0.2/24", dns=entry)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "not an object: None"),
        ([], "not an object"),
        ({}, "cniVersion is None, not 1.0.0"),
        (document_of("10.5.0.2/24", cniVersion="0.4.0"), "cniVersion is '0.4.0', not 1.0.0"),
        (document_of(), "there is no address for eth0"),
        (document_of(ips={}), "'ips' is not a list"),
        (document_of(ips=["10.5.0.2/24"]), "not an object"),
        (with_ip(address="10.5.0.2"), "'10.5.0.2' is not an address with its prefix length"),
        (with_ip(address="10.5.0.2/255.255.255.0"), "is not an address"),
        (with_ip(address="10.5.0.2/33"), "is not an address"),
        (with_ip(address="fe80::1%eth0/64"), "is not an address"),
        (with_ip(address=167772162), "is not an address"),
        (with_ip(address="10.5.0.2/24\ndhcp-option=6,1.1.1.1"), "is not an address"),
        (with_ip(address="10.5.0.0/24"), "10.5.0.0/24 is not a host address"),
        (with_ip(address="10.5.0.255/24"), "is not a host address"),
        (with_ip(address="127.0.0.1/8"), "is not a host address"),
        (with_ip(address="224.0.0.1/4"), "is not a host address"),
        (with_ip(address="0.0.0.0/0"), "is not a host address"),
        (with_ip(address="::/0"), "is not a host address"),
        (with_ip(address="fe80::1/64"), "is not a host address"),
        (with_ip(address="::ffff:10.5.0.2/128"), "is not a host address"),
        (with_ip(gateway="10.5.0.2"), "is its own gateway"),
        (with_ip(gateway="2001:db8::1"), "can't be the gateway for 10.5.0.2/24"),
        (with_ip(gateway="255.255.255.255"), "can't be a gateway"),
        (with_ip(gateway=["10.5.0.1"]), "is not a gateway's address"),
        (with_ip(interface=0), "there is no interface 0 among 0"),
        (with_ip(interface=-1), "there is no interface -1 among 0"),
        (with_ip(interface="eth0"), "there is no interface 'eth0' among 0"),
        (with_route(dst="default"), "'default' is not a destination"),
        (with_route(dst=None), "None is not a destination"),
        (with_route(gw="2001:db8::1"), "can't be the gateway to 10.6.0.0/16"),
        (with_route(gw="127.0.0.1"), "127.0.0.1 can't be a gateway"),
        (with_route(table=100), "is not in the main table"),
        (with_route(priority=-1), "'priority' is -1"),
        (with_route(mtu=True), "'mtu' is True"),
        (document_of("10.5.0.2/24", routes="none"), "'routes' is not a list"),
        (document_of("10.5.0.2/24", dns=[]), "dns is not an object"),
        (with_dns(nameservers=["127.0.0.1"]), "is not a nameserver that a guest can reach"),
        (with_dns(nameservers="10.5.0.53"), "'nameservers' is not a list"),
        (with_dns(domain="a b"), "'a b' is not a domain name"),
        (with_dns(search=["x\nserver=10.0.0.1"]), "is not a domain name"),
        (with_dns(options=["a b"]), "'a b' is not an option"),
    ],
)
def test_an_unusable_result_is_refused(document: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        read(document)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"eth0": ["10.5.0.2/24", "10.5.0.2/16"]}, "10.5.0.2 would belong to eth0 and eth0"),
        (
            {"eth0": ["10.5.0.2/24"], "eth1": ["10.5.0.2/24"]},
            "10.5.0.2 would belong to eth1 and eth0",
        ),
        ({"eth0": ["10.6.0.7/24"]}, "10.6.0.7 would belong to eth1 and eth0"),
        (
            {"eth0": ["10.6.0.1/24"]},
            "10.6.0.1 would belong to eth0, but is the gateway to 0.0.0.0/0",
        ),
    ],
)
def test_conflicts_are_refused(results: Mapping[str, list[str]], reason: str) -> None:
    own = testing.identity(
        testing.interface("10.4.0.7/24", gateway="10.4.0.1"),
        testing.interface("10.6.0.7/24", name="eth1", gateway="10.6.0.1"),
    )
    found = {name: result.read(document_of(*ips), V1, name) for name, ips in results.items()}
    with pytest.raises(ValueError, match=re.escape(reason)):
        merge.merge(own, found)


scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["1.0.0", "10.5.0.2/24", "10.5.0.1", "::1/64", "2001:db8::2/64", "0.0.0.0/0", "a.test", "4"]
    )
    | st.ip_addresses().map(str)
    | st.builds(lambda ip, bits: f"{ip}/{bits}", st.ip_addresses(), st.integers(-1, 129))
)
of_route = ("dst", "gw", "mtu", "priority", "table", "scope")
of_address = ("address", "gateway", "interface", "version")
of_dns = ("nameservers", "domain", "search", "options")
of_result = ("cniVersion", "ips", "interfaces", "name", "routes", "dns")
keys = st.sampled_from((*of_result, *of_address, *of_route, *of_dns))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


def entries(*names: str) -> st.SearchStrategy[Any]:
    return st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything)) | anything, max_size=3
    )


likely = st.fixed_dictionaries(
    {"cniVersion": st.just(V1), "ips": entries(*of_address)},
    optional={
        "routes": entries(*of_route),
        "dns": st.fixed_dictionaries({}, optional=dict.fromkeys(of_dns, anything)),
        "interfaces": anything,
    },
)


def is_plain(identity: Identity) -> bool:
    """Return whether no text in it can end a line or a field of a configuration file."""
    resolver = identity.resolver
    words = (identity.domain, *resolver.search, *resolver.options)
    return all(word.isascii() and not set(word) & set(" \t\r\n,;#\"'=/\\") for word in words)


@given(likely | anything)
@example(document_of("10.5.0.2/24", dns={"search": ["\udcff"]}))
@example(document_of("10.5.0.2/24", routes=[{"dst": "10.6.0.0/16", "priority": 10**5000}]))
def test_any_result_is_valid_or_refused(document: Any) -> None:
    try:
        found = merged(document)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
        assert_valid(found)
    assert reason.isprintable()


def assert_valid(identity: Identity) -> None:
    assert is_plain(identity)
    assert from_json(to_json(identity), Identity) == identity
    (nic,) = identity.interfaces
    assert nic.addresses
    assert all(isinstance(route, Route) for route in nic.routes)
