"""The data types converted to JSON and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit import strategies
from vmnet import testing
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.model.devices import Cdrom, Disk
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, Kernel, Machine
from vmnet.model.serial import from_json, to_json
from vmnet.model.wiring import Wiring
from vmnet.pipeline import Plan


@given(strategies.identities)
def test_an_identity_survives_the_round_trip(identity: Identity) -> None:
    assert from_json(to_json(identity), Identity) == identity


@given(strategies.wirings)
def test_a_wiring_survives_the_round_trip(wiring: Wiring) -> None:
    assert from_json(to_json(wiring), Wiring) == wiring


@given(strategies.machines)
def test_a_machine_survives_the_round_trip(machine: Machine) -> None:
    assert from_json(to_json(machine), Machine) == machine


@given(st.binary(), strategies.paths, st.integers(0, 0o777))
def test_a_file_survives_the_round_trip(content: bytes, path: Path, mode: int) -> None:
    file = File(path, content, mode)
    assert from_json(to_json(file), File) == file


def test_a_whole_plan_survives_the_round_trip() -> None:
    identity = testing.identity(
        testing.interface("172.18.0.2/16", gateway="172.18.0.1"),
        testing.interface("10.0.0.2/24", "2001:db8::2/64", name="eth1", gateway="fe80::1"),
        resolver=testing.resolver("127.0.0.11", options=("ndots:0",)),
    )
    machine = testing.machine(
        devices=(Disk(Path("/disk"), "raw"), Cdrom(Path("/seed"))),
        kernel=Kernel(Path("/vmlinuz"), append="quiet"),
    )
    delivery = Delivery(
        "dnsmasq",
        files=(File(Path("/run/vmnet/x"), b"\0\xff", 0o644),),
        daemons=(Daemon("dnsmasq", ("dnsmasq",), Path("/run/vmnet/pid")),),
        not_carried=("nothing",),
    )
    command = Command(("/usr/bin/qemu", "-S"), (100, 101), Path("/run/vmnet/qmp.sock"))
    plan = Plan(identity, testing.wiring(identity), (delivery,), machine, command)
    assert from_json(to_json(plan), Plan) == plan


def test_the_json_is_readable() -> None:
    interface = testing.interface("172.17.0.2/16", gateway="172.17.0.1")
    assert json.loads(to_json(interface)) == {
        "name": "eth0",
        "mac": "02:42:ac:11:00:02",
        "mtu": 1500,
        "kind": "veth",
        "addresses": ["172.17.0.2/16"],
        "routes": [
            {
                "destination": "0.0.0.0/0",
                "gateway": "172.17.0.1",
                "onlink": False,
                "metric": 0,
                "source": None,
                "mtu": None,
            }
        ],
        "router": None,
        "off_link": [],
        "neighbours": [],
    }
    assert to_json(interface).endswith("}\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ('{"hostname": "web"', "Expecting"),
        ("null", "Identity"),
        ("{}", "hostname"),
        ('{"hostname": "web", "colour": "red"}', "colour"),
        ('{"hostname": "web", "interfaces": 3}', "interfaces"),
        ('{"hostname": "web", "ntp": ["here"]}', r"Identity\.ntp\[0\]"),
    ],
)
def test_malformed_json_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_json(text, Identity)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values)
@example([])
@example("x")
@example({"hostname": "web", "resolver": []})
def test_any_json_is_read_or_raises_value_error(value: object) -> None:
    try:
        from_json(json.dumps(value), Identity)
    except ValueError:
        return


@frozen
class Numbers:
    count: int


def test_numbers_stay_numbers() -> None:
    assert from_json('{"count": 7}', Numbers) == Numbers(7)
