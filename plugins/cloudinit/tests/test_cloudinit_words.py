"""Real cloud-init reads the names in a seed unchanged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from vmnet_cloudinit import metadata, seed
from vmnet_cloudinit.content import UserContent

from tests.lab.command import run
from vmnet import testing
from vmnet.api import is_domain

# Print the host's full name and search domains, as cloud-init reads meta-data and network-config.
_READ = """\
import json, sys
from cloudinit import helpers, util
from cloudinit.net.network_state import parse_net_config_data
from cloudinit.sources.DataSourceNoCloud import DataSourceNoCloud
paths = helpers.Paths({"cloud_dir": "/nonexistent", "run_dir": "/nonexistent"})
found = []
for metadata, network in json.load(sys.stdin):
    source = DataSourceNoCloud({}, None, paths)
    source.metadata = util.load_yaml(metadata)
    name = source.get_hostname(fqdn=True)
    (interface,) = parse_net_config_data(util.load_yaml(network)).iter_interfaces()
    search = [word for subnet in interface["subnets"] for word in subnet.get("dns_search", ())]
    search = search or interface.get("dns", {}).get("search") or []
    found.append([getattr(name, "hostname", name), search])
json.dump(found, sys.stdout)
"""
LABELS = st.from_regex(r"\A[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?\Z") | st.sampled_from(
    ["yes", "null", "1234", "0x10", "1e3", "0o7", "1_000", "true", "Off", "12345678901d", "127"]
)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@settings(max_examples=4)
@given(
    st.lists(
        st.tuples(LABELS, DOMAINS | st.just(""), st.lists(DOMAINS, max_size=3, unique=True)),
        min_size=1,
        max_size=40,
    )
)
@example([("10", "0.0.1", ["1.2.3.4"]), ("2001-01-01", "", ["1.5", "1e3", "yes"])])
def test_names_arrive_unchanged(cases: list[tuple[str, str, list[str]]]) -> None:
    files: list[Any] = []
    expected = []
    for hostname, domain, search in cases:
        identity = testing.identity(
            hostname=hostname,
            domain=domain,
            resolver=testing.resolver("192.0.2.53", search=tuple(search)),
        )
        made = seed.files(identity, testing.wiring(identity), UserContent())
        files.append([made["meta-data"].decode(), made["network-config"].decode()])
        name = f"{hostname}.{domain}" if domain else hostname
        if any("for an address" in line for line in metadata.not_carried(identity)):
            name = hostname
        expected.append([name, search])
        assert all(map(is_domain, search))
    found = json.loads(run("/usr/bin/python3", "-c", _READ, input=json.dumps(files)).stdout)
    assert found == expected
