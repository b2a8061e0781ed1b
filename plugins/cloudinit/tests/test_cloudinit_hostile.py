"""Hostile names of a container cannot change the structure of the seed."""

from __future__ import annotations

import email
import re
from ipaddress import IPv6Address

import yaml
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from vmnet_cloudinit import seed
from vmnet_cloudinit.content import UserContent

from vmnet import testing
from vmnet.api import Host, Identity, is_domain

# Text that could end a line, a scalar, a here-document, a part or a shell word.
SHARP = st.sampled_from(
    ["\n", "\r", "\0", "'", '"', "`", "$(", ": ", "- ", "#", "{{", "LINKS", "\n--vmnet", "\u2028"]
)
HOSTILE = st.lists(SHARP | st.text(max_size=5) | st.sampled_from(["web", "example.org"])).map(
    "".join
)
IDENTITIES = st.builds(
    lambda hostname, domain, search, hosts, zone, name: testing.identity(
        evolve(testing.interface("172.17.0.2/16", gateway="172.17.0.1"), name=name),
        hostname=hostname,
        domain=domain,
        resolver=testing.resolver("192.0.2.53", search=tuple(search), options=tuple(search)),
        hosts=tuple(Host(IPv6Address(f"fe80::9{zone}"), tuple(aliases)) for aliases in hosts),
    ),
    hostname=HOSTILE,
    domain=HOSTILE,
    search=st.lists(HOSTILE),
    hosts=st.lists(st.lists(HOSTILE, min_size=1)),
    zone=HOSTILE.filter(lambda text: text and "%" not in text and "/" not in text).map("%{}".format)
    | st.just(""),
    name=HOSTILE,
)
BROKEN_OUT = testing.identity(
    hostname="web\ninstance-id: evil",
    resolver=testing.resolver("192.0.2.53", search=("a\n  routes: []",)),
    hosts=(Host(IPv6Address("fd00::9"), ("db\nLINKS\n}\nreboot", "x\n--vmnet")),),
)


@given(IDENTITIES)
@example(BROKEN_OUT)
def test_names_do_not_change_the_structure(identity: Identity) -> None:
    files = seed.files(identity, testing.wiring(identity), UserContent())

    meta = yaml.safe_load(files["meta-data"])
    assert set(meta) <= {"instance-id", "local-hostname"}
    assert re.fullmatch("vmnet-[0-9a-f]{32}", meta["instance-id"])
    assert is_domain(meta.get("local-hostname", "none"))

    config = yaml.safe_load(files["network-config"])
    assert set(config) == {"version", "ethernets"}
    (ethernet,) = config["ethernets"].values()
    assert ethernet["routes"] == [{"to": "0.0.0.0/0", "via": "172.17.0.1"}]
    assert set(ethernet["nameservers"]) <= {"addresses", "search"}
    assert all(map(is_domain, ethernet["nameservers"].get("search", ())))

    script = files["vendor-data"].decode()
    head, links, tail = re.split(r"<<'LINKS'\n|^LINKS\n", script, flags=re.MULTILINE)
    nameless = testing.identity(hostname="")
    empty = seed.files(nameless, testing.wiring(nameless), UserContent())
    assert f"{head}<<'LINKS'\nLINKS\n{tail}".encode() == empty["vendor-data"]
    line = re.compile(r"(172\.17\.0\.2|fe80::9|fd00::9)\t[A-Za-z0-9_. -]+\t# vmnet")
    assert all(line.fullmatch(link) for link in links.split("\n")[:-1])


@given(IDENTITIES)
@example(BROKEN_OUT)
def test_every_omitted_name_is_reported(identity: Identity) -> None:
    delivery = seed.deliver(testing.RUN_DIR, identity, testing.wiring(identity), UserContent())
    lines = "\n".join(delivery.not_carried)
    assert tuple(lines.splitlines()) == delivery.not_carried
    for host in identity.hosts:
        for name in host.names:
            assert is_domain(name) or f"name {name!r} of" in lines


@given(IDENTITIES)
def test_names_do_not_change_the_structure_of_a_mime_message(identity: Identity) -> None:
    timed = evolve(identity, ntp=(IPv6Address("fd00::1"),))
    text = seed.files(timed, testing.wiring(timed), UserContent(vendor_data=b"#!/bin/sh\n"))[
        "vendor-data"
    ]
    kinds = [part.get_content_type() for part in email.message_from_bytes(text).walk()]
    assert kinds == ["multipart/mixed", "text/cloud-boothook", "text/cloud-config", "text/plain"]
