"""The record that a network namespace contains, in the kernel."""

from __future__ import annotations

import os

import pytest

from tests.lab.net.namespace import namespace
from vmnet.net import namespace_record as record
from vmnet.net import netlink


def test_a_record_is_replaced_and_removed() -> None:
    with namespace("empty") as empty, empty.entered():
        assert record.load() is None
        record.remove()
        for size in (1, 126, 127, record.MOST_BYTES):
            data = os.urandom(size)
            record.save(data)
            assert record.load() == data
        with pytest.raises(OSError, match="at most 65536 fit"):
            record.save(bytes(record.MOST_BYTES + 1))
        assert record.load() == data
        record.remove()
        assert record.load() is None
        assert empty.run("nft", "list", "ruleset").stdout == ""


def test_it_is_hooked_nowhere() -> None:
    with namespace("empty") as empty:
        with empty.entered():
            record.save(b"data")
        assert empty.run("nft", "list", "ruleset").stdout.split() == [
            *("table", "ip", record.TABLE, "{", "chain", "saved", "{"),
            *("comment", f'"{b"data".hex()}"', "}", "}"),
        ]


def test_another_network_namespace_has_another_record() -> None:
    with namespace("first") as first, namespace("second") as second:
        with first.entered():
            record.save(b"data")
        with second.entered():
            assert record.load() is None


@pytest.mark.parametrize("marked", [b"\0", b"\0\xff", b"\0\x02zz"])
def test_a_forged_rule_gives_no_valid_record(marked: bytes) -> None:
    with namespace("empty") as empty, empty.entered():
        table, chain, (kind, flags, rule) = record._creation(b"x")
        place = rule[: -len(netlink.attribute(record._RULE_USERDATA, b"\0\0" + b"78\0"))]
        forged = place + netlink.attribute(record._RULE_USERDATA, marked)
        record._commit([table, chain, (kind, flags, forged)])
        assert record.load() == b""
