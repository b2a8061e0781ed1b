"""The parsers of environment variables: accepted values, and errors for all others."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Interface, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vmnet.settings import values

GIB = 1 << 30
PARSERS: dict[str, Callable[[str], Any]] = {
    "text": values.text,
    "boolean": values.boolean,
    "size": values.size,
    "integer": values.integer(1, 10),
    "choice": values.choice("auto", "kvm"),
    "name": values.name,
    "listed": values.listed(values.name),
    "folder": values.folder,
    "absolute_path": values.absolute_path,
    "ip": values.ip,
    "bridge_address": values.bridge_address,
    "shell_words": values.shell_words,
}


@pytest.mark.parametrize("given", ["4", "2K", "15M"])
def test_a_number_of_gib_without_its_unit_is_no_memory(given: str) -> None:
    with pytest.raises(ValueError, match=r"^at least 16M; a number without a unit is in MiB"):
        values.memory(given)
    assert values.memory("16") == 16 << 20


@pytest.mark.parametrize(
    ("parser", "given", "value"),
    [
        ("text", "console=ttyS0 quiet", "console=ttyS0 quiet"),
        *(("boolean", word, True) for word in ("true", "1", "YES", " On ")),
        *(("boolean", word, False) for word in ("false", "0", "No", "OFF")),
        ("size", "512", 512 << 20),
        ("size", "512M", 512 << 20),
        ("size", "2G", 2 * GIB),
        ("size", "2Gi", 2 * GIB),
        ("size", "2 gib", 2 * GIB),
        ("size", "512MB", 512 << 20),
        ("size", "2 GiB", 2 * GIB),
        ("size", "1t", 1024 * GIB),
        ("size", "4096kb", 4 << 20),
        ("integer", " 10 ", 10),
        ("choice", " KVM", "kvm"),
        ("name", " eth0.100 ", "eth0.100"),
        ("listed", "a, b ,c", ("a", "b", "c")),
        ("folder", "/run/vm.1_a-b+c@d~/", Path("/run/vm.1_a-b+c@d~")),
        ("absolute_path", "/disk,1.qcow2", Path("/disk,1.qcow2")),
        ("ip", " 2001:db8::53 ", ip_address("2001:db8::53")),
        ("bridge_address", "Spare", "spare"),
        ("bridge_address", "10.0.0.250/24", IPv4Interface("10.0.0.250/24")),
        ("shell_words", "-device 'a b' \"c d\"", ("-device", "a b", "c d")),
    ],
)
def test_a_value(parser: str, given: str, value: object) -> None:
    assert PARSERS[parser](given) == value


@pytest.mark.parametrize(
    ("parser", "given", "expected"),
    [
        ("text", "a\nb", "a line of printable text"),
        ("boolean", "maybe", "one of true, 1, yes, on, false, 0, no, off"),
        ("size", "lots", "a size such as 512M or 2G"),
        ("size", "0", "a size such as 512M or 2G"),
        ("size", "-1G", "a size such as 512M or 2G"),
        ("size", "2i", "a size such as 512M or 2G"),
        ("size", "\u0665G", "a size such as 512M or 2G"),
        ("integer", "0", "a whole number from 1 to 10"),
        ("integer", "11", "a whole number from 1 to 10"),
        ("integer", "2.5", "a whole number from 1 to 10"),
        ("integer", "\u0665", "a whole number from 1 to 10"),
        ("choice", "kmv", "one of auto, kvm (did you mean 'kvm'?)"),
        ("choice", "xen", "one of auto, kvm"),
        ("name", "../etc", "a name of letters, digits, '.', '-' and '_'"),
        ("name", "", "a name of letters, digits, '.', '-' and '_'"),
        ("listed", "a,,b", "a name of letters, digits, '.', '-' and '_'"),
        ("listed", "a,b,a", "a list without repeated entries"),
        ("absolute_path", "disk.qcow2", "an absolute path in the container"),
        ("absolute_path", "/a\nb", "an absolute path in the container"),
        ("ip", "dns.example", "a list of IP addresses such as 192.0.2.53,2001:db8::53"),
        ("ip", "0.0.0.0", "a list of IP addresses such as 192.0.2.53,2001:db8::53"),
        (
            "bridge_address",
            "10.0.0.250",
            "auto, link-local, spare, or an address such as 10.0.0.250/24",
        ),
        *(
            (
                "bridge_address",
                address,
                "auto, link-local, spare, or an address such as 10.0.0.250/24",
            )
            for address in (
                "10.0.0.0/24",
                "10.0.0.255/24",
                "127.0.0.1/8",
                "224.0.0.1/4",
                "0.0.0.0/0",
            )
        ),
        ("shell_words", "'open", "a list of arguments: No closing quotation"),
    ],
)
def test_the_error_states_what_is_expected(parser: str, given: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        PARSERS[parser](given)


@pytest.mark.parametrize("parser", PARSERS)
@given(value=st.text())
@example(value="9" * 5000)
@example(value="/" + "9" * 5000)
@example(value="\udcff")
def test_any_text_is_a_value_or_a_value_error(parser: str, value: str) -> None:
    message = ""
    try:
        PARSERS[parser](value)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()


@given(st.ip_addresses(), st.text(st.characters(exclude_characters="%"), min_size=1))
@example(ip_address("fe80::1"), "eth0\ndhcp-script=/bin/sh")
def test_an_address_contains_no_other_text(address: object, zone: str) -> None:
    try:
        parsed = values.ip(f"{address}%{zone}")
    except ValueError:
        return
    assert set(str(parsed).partition("%")[2]) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    )


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [("dnsmaskq", " (did you mean 'dnsmasq'?)"), ("zzz", "")],
)
def test_nearest(wrong: str, suggestion: str) -> None:
    assert values.nearest(wrong, ("dnsmasq", "nodhcp")) == suggestion


@pytest.mark.parametrize(
    "given",
    [
        *("run", "/run/a#b", '/run/a"b', "/run/a b", "/run/a,b", "/run/../etc", "/run/\xe4", "/"),
        *("/run/a\n", "/run//a", "/" + 90 * "a"),
    ],
)
def test_a_folder_that_needs_quotes_or_is_too_long_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^an absolute path of at most 90 characters, which are"):
        values.folder(given)


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ("E1000", ("e1000", "e1000")),
        ("eth1=rtl8139", ("virtio", "rtl8139")),
        (" e1000e , eth1=vmxnet3", ("e1000e", "vmxnet3")),
        ("eth1=vmxnet3,e1000e", ("e1000e", "vmxnet3")),
    ],
)
def test_models_of_nics(given: str, models: tuple[str, str]) -> None:
    chosen = values.nic_models(given)
    assert (chosen.of("eth0"), chosen.of("eth1")) == models


@pytest.mark.parametrize(
    "given",
    [
        "ne2000",
        "e1000,rtl8139",
        "eth0=e1000,eth0=virtio",
        "eth0=",
        "=e1000",
        "eth/0=e1000",
        "e1000,",
    ],
)
def test_unknown_and_contradictory_models_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^a model \(virtio, e1000, e1000e, rtl8139, vmxnet3\)"):
        values.nic_models(given)
