"""Settings: parsing of the environment, and errors that name variable, value and remedy."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.errors import PluginError, SettingsError
from vmnet.model.ports import PortRange
from vmnet.settings import core, values
from vmnet.settings.core import CORE
from vmnet.settings.table import Setting, optional, parse, setting

SECRET = optional("VMNET_EXAMPLE_TOKEN", values.text, "a token", secret=True)

BAD: dict[str, str] = {
    "NO_DHCP": "maybe",
    "VMNET_CAPTURE": "net ns",
    "VMNET_BRIDGE": "/bridge",
    "VMNET_IPAM": "dnsmasq,dnsmasq",
    "VMNET_FORWARDER": "a,b",
    "VMNET_DEVICES": "tpm,,usb",
    "VMNET_LAUNCH": "-qemu",
    "VMNET_INTERFACES": "eth0,,eth1",
    "VMNET_INTERFACES_TIMEOUT": "-1",
    "VMNET_LOST_ROUTES": "keep",
    "VMNET_HOST_NETWORK": "allow",
    "VMNET_BRIDGE_ADDRESS": "10.0.0.1",
    "VMNET_KEEP_PORTS": "8006/sctp",
    "VMNET_METRICS": "on",
    "VMNET_LOCALHOST": "pods",
    "VMNET_DNS": "192.0.2.53,dns.example",
    "VMNET_NTP": "pool.ntp.org",
    "VMNET_DISK": "disk.qcow2",
    **{f"VMNET_DISK{number}": "/disk,bus=usb" for number in range(2, 9)},
    "VMNET_DISK_FORMAT": "vmdk",
    "VMNET_DISK_BACKING": "images",
    "VMNET_DISK_SHA256": "abc",
    "VMNET_DISK_MODE": "temporary",
    "VMNET_DISK_SIZE": "-1",
    "VMNET_DISK_STATE": "state",
    "VMNET_CDROM": "./seed.iso",
    "VMNET_SHARE": "data",
    "VMNET_KERNEL": "vmlinuz",
    "VMNET_INITRD": "initrd",
    "VMNET_APPEND": "quiet\tsplash",
    "VMNET_DEMO": "demo",
    "VMNET_ARCH": "riscv64",
    "VMNET_FIRMWARE": "OVMF.fd",
    "VMNET_BOOT": "floppy",
    "VMNET_TPM": "2.0",
    "VMNET_MEMORY": "lots",
    "VMNET_HUGEPAGES": "1G",
    "VMNET_BALLOON": "half",
    "VMNET_CPUS": "0",
    "VMNET_ACCEL": "hvf",
    "VMNET_NIC_MODEL": "ne2000",
    "VMNET_VHOST": "maybe",
    "VMNET_QUEUES": "17",
    "VMNET_AGENT": "maybe",
    "VMNET_HOTPLUG": "9",
    "VMNET_GUARD": "enabled",
    "VMNET_FILTER": "enabled",
    "VMNET_STOP_TIMEOUT": "10s",
    "VMNET_RESTORE_NETWORK": "yes",
    "VMNET_HOOK_TIMEOUT": "10s",
    "VMNET_RUN_DIR": "run",
    "VMNET_LOG": "xml",
    "VMNET_LOG_LEVEL": "trace",
}

words = st.text("ABCXYZ0189", min_size=1, max_size=8)


def test_every_core_setting_has_a_bad_value_here() -> None:
    assert set(BAD) == {row.name for row in CORE}


@pytest.mark.parametrize("row", CORE, ids=lambda row: row.name)
def test_a_bad_value_is_refused_with_variable_value_and_remedy(row: Setting[Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse({row.name: BAD[row.name]}, CORE)
    assert caught.value.message.startswith(f"{row.name}={BAD[row.name]} is not ")
    assert row.help in caught.value.hint
    assert f"`-e {row.name}=" in caught.value.hint


def test_the_error_for_a_value_with_a_newline_is_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"VMNET_APPEND": "quiet\nsplash"}, CORE)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("row", CORE, ids=lambda row: row.name)
def test_an_empty_variable_counts_as_unset(row: Setting[Any]) -> None:
    empty = parse({row.name: ""}, CORE)
    assert empty[row] == parse({}, CORE)[row]
    assert not empty.is_given(row)


@pytest.mark.parametrize("row", CORE, ids=lambda row: row.name)
@given(value=st.text(min_size=1))
def test_any_text_is_a_value_or_a_settings_error(row: Setting[Any], value: str) -> None:
    message = ""
    try:
        parse({row.name: value}, CORE)
    except SettingsError as error:
        message = error.message
    shown = value if len(value.splitlines()) == 1 else repr(value)
    assert not message or message.startswith(f"{row.name}={shown} is not ")


def test_defaults() -> None:
    nothing = parse({}, CORE)
    assert nothing[core.IPAM] == ("dnsmasq",)
    assert nothing[core.NO_DHCP] is False
    assert nothing[core.MEMORY] == "auto"
    assert nothing[core.RUN_DIR] == Path("/run/vmnet")
    assert nothing[core.DISK] is None
    assert nothing[core.GUARD] is True


def test_values_are_typed_and_their_text_is_kept() -> None:
    parsed = parse({"VMNET_DNS": "192.0.2.53, 2001:db8::53", "VMNET_CPUS": "4"}, CORE)
    assert parsed[core.DNS] == (ip_address("192.0.2.53"), ip_address("2001:db8::53"))
    assert parsed[core.CPUS] == 4
    assert parsed.given == {"VMNET_DNS": "192.0.2.53, 2001:db8::53", "VMNET_CPUS": "4"}


def test_iteration_yields_every_row() -> None:
    assert tuple(parse({}, CORE)) == CORE


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("VMNET_MEMROY", "unknown variable VMNET_MEMROY (did you mean 'VMNET_MEMORY'?)"),
        ("VMNET_DISKS", "unknown variable VMNET_DISKS (did you mean 'VMNET_DISK'?)"),
        ("VMNET_NO_DHCP", "unknown variable VMNET_NO_DHCP (did you mean 'NO_DHCP'?)"),
        ("VMNET_DEBUG", "unknown variable VMNET_DEBUG"),
    ],
)
@pytest.mark.parametrize("value", ["1", ""])
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    variable: str, message: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse({variable: value}, CORE)
    assert (caught.value.message, caught.value.hint) == (
        message,
        "`vmnet config` lists every variable",
    )


@pytest.mark.parametrize("variable", ["PATH", "VMNETWORK", "vmnet_memory", "VMNET"])
def test_variables_without_the_prefix_are_ignored(variable: str) -> None:
    assert not parse({variable: "anything"}, CORE).given


@given(
    st.sampled_from(("VMNET", "VMNET_WEB", "VMNET_DISK", "VMNET_2")),
    st.integers(1, 65535),
    st.sampled_from(("TCP", "UDP", "SCTP")),
    words,
)
def test_variables_of_a_kubernetes_service_are_ignored(
    service: str, port: int, protocol: str, port_name: str
) -> None:
    """Kubernetes' envvars.go sets variables for a service, and those of Docker's links."""
    link = f"{service}_PORT_{port}_{protocol}"
    names = (
        *(f"{service}_SERVICE_{end}" for end in ("HOST", "PORT", f"PORT_{port_name}")),
        f"{service}_PORT",
        *(link, f"{link}_PROTO", f"{link}_PORT", f"{link}_ADDR"),
    )
    assert not parse(dict.fromkeys(names, "tcp://10.96.0.1:80"), CORE).given


@given(
    st.sampled_from(("VMNET", "VMNET_WEB", "VMNET_1")),
    st.integers(1, 65535),
    st.sampled_from(("TCP", "UDP", "SCTP")),
    words,
)
def test_variables_of_a_docker_link_are_ignored(
    alias: str, port: int, protocol: str, variable: str
) -> None:
    """Docker's daemon/links sets a link's first port, all its ports, its name and variables."""
    link = f"{alias}_PORT_{port}_{protocol}"
    names = (
        *(f"{alias}_PORT", f"{alias}_NAME", f"{alias}_ENV_{variable}"),
        *(link, f"{link}_ADDR", f"{link}_PORT", f"{link}_PROTO"),
        *(f"{link}_PORT_START", f"{link}_PORT_END"),
    )
    assert not parse(dict.fromkeys(names, "tcp://172.17.0.2:80"), CORE).given


@pytest.mark.parametrize(
    "variable",
    ["VMNET_PORT_80_TCP_START", "VMNET_PORT_81_TCP_END", "VMNET_ENV_discovery.type"],
)
def test_further_variables_of_a_docker_link_are_ignored(variable: str) -> None:
    assert not parse({variable: "tcp://172.17.0.2:80"}, CORE).given


@pytest.mark.parametrize("variable", ["VMNET_SERVICE", "VMNET_PORTS", "VMNET_PORT_80_ICMP"])
def test_variables_similar_to_injected_ones_are_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown variable {variable}"):
        parse({variable: "1"}, CORE)


def test_two_rows_with_the_same_name_are_refused() -> None:
    again = setting("VMNET_MEMORY", values.size, "1G", "another plugin's idea of memory")
    with pytest.raises(PluginError, match="VMNET_MEMORY is declared twice"):
        parse({}, (*CORE, again))


def test_the_same_row_twice_is_one_row() -> None:
    assert len(parse({}, (*CORE, core.MEMORY)).rows) == len(CORE)


def test_a_row_of_a_plugin_is_parsed_like_a_core_row() -> None:
    row = optional("VMNET_EXAMPLE_COUNT", values.integer(1, 9), "how many")
    assert parse({}, (*CORE, row))[row] is None
    assert parse({row.name: "7"}, (*CORE, row))[row] == 7
    with pytest.raises(SettingsError, match="VMNET_EXAMPLE_COUNT=ten is not a whole number"):
        parse({row.name: "ten"}, (*CORE, row))


@pytest.mark.parametrize("row", CORE, ids=lambda row: row.name)
def test_help_is_one_short_line(row: Setting[Any]) -> None:
    assert row.help.isprintable()
    assert 10 < len(row.help) < 100
    assert not row.help.endswith(".")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_a_file(end: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(f"hunter2{end}".encode())
    found = parse({"VMNET_EXAMPLE_TOKEN_FILE": str(path)}, (*CORE, SECRET))
    assert found[SECRET] == "hunter2"
    assert found.is_given(SECRET)
    assert found.origin(SECRET) == f"VMNET_EXAMPLE_TOKEN_FILE={path}"
    assert "hunter2" not in repr(found)


def test_a_secret_in_the_environment_has_no_file() -> None:
    found = parse({"VMNET_EXAMPLE_TOKEN": "x", "VMNET_EXAMPLE_TOKEN_FILE": ""}, (SECRET,))
    assert (found[SECRET], found.origin(SECRET)) == ("x", "VMNET_EXAMPLE_TOKEN")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "no such file in the container"),
        (".", "is not a regular file"),
        ("binary", "is not UTF-8 text"),
        ("nul", "is not UTF-8 text"),
        ("large", "is larger than 4 MiB"),
        ("lines", "is not a line of printable text"),
        ("/proc/self/mem", "Input/output error"),
        ("/nul\0", "can't read VMNET_EXAMPLE_TOKEN_FILE"),
    ],
)
def test_an_unusable_file_is_named_and_not_quoted(path: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    (tmp_path / "nul").write_bytes(b"hunter2\0")
    (tmp_path / "large").write_bytes(b"hunter2".ljust((4 << 20) + 1))
    (tmp_path / "lines").write_bytes(b"hunter2\nhunter2")
    with pytest.raises(SettingsError, match=problem) as caught:
        parse({"VMNET_EXAMPLE_TOKEN_FILE": str(tmp_path / path)}, (SECRET,))
    assert f"VMNET_EXAMPLE_TOKEN_FILE={tmp_path / path}" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_relative_path_of_a_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match="VMNET_EXAMPLE_TOKEN_FILE=token is not an absolute"):
        parse({"VMNET_EXAMPLE_TOKEN_FILE": "token"}, (SECRET,))


def test_a_secret_and_its_file_contradict_each_other() -> None:
    both = {"VMNET_EXAMPLE_TOKEN": "x", "VMNET_EXAMPLE_TOKEN_FILE": "/run/secrets/token"}
    with pytest.raises(SettingsError, match="VMNET_EXAMPLE_TOKEN and VMNET_EXAMPLE_TOKEN_FILE "):
        parse(both, (SECRET,))


def test_only_secrets_have_files() -> None:
    with pytest.raises(SettingsError, match="unknown variable VMNET_MEMORY_FILE"):
        parse({"VMNET_MEMORY_FILE": "/run/secrets/memory"}, CORE)


def test_a_row_may_have_the_name_of_a_secrets_file() -> None:
    row = optional("VMNET_EXAMPLE_TOKEN_FILE", values.absolute_path, "file with the token")
    found = parse({row.name: "/nowhere"}, (SECRET, row))
    assert (found[row], found[SECRET]) == (Path("/nowhere"), None)


def test_ports_and_ranges_of_ports() -> None:
    assert values.ports("8006, 5900-5910/TCP,161/udp,8006/udp") == (
        PortRange("tcp", 5900, 5910),
        PortRange("tcp", 8006, 8006),
        PortRange("udp", 161, 161),
        PortRange("udp", 8006, 8006),
    )


@pytest.mark.parametrize(
    "value", ["0", "65536", "90-80", "80,", "http", "80/icmp", "-80", "80,80/tcp", "80-90,85"]
)
def test_what_is_no_list_of_ports(value: str) -> None:
    with pytest.raises(ValueError, match="a list"):
        values.ports(value)
