"""cloud-init's own code reads the golden seeds: whichever version this machine has."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from vmnet_cloudinit import vendordata

from tests.lab.command import run
from vmnet import testing

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(one.name for one in GOLDEN.iterdir())

# cloud-init's own schema has no word for them. Netplan's has, which it uses where there is netplan.
KEYS_OF_NETPLAN = {"calico", "everything"}
PROGRAM = shutil.which("cloud-init")

pytestmark = pytest.mark.skipif(not PROGRAM, reason="needs cloud-init")

# Newer versions write the machine's own /etc/netplan whatever folder they are told.
_CONVERT = """\
set -eu
test ! -d /etc/netplan || mount -t tmpfs none /etc/netplan
cloud-init devel net-convert -k yaml -p "$1" -D debian -d "$2" -O "$3" >/dev/null
test ! -d /etc/netplan || cp -r /etc/netplan "$2/etc"
"""

# What cloud-init makes of user-data or vendor-data: type and content of each part.
_PROCESS = """\
import base64, json, sys
from cloudinit import helpers, user_data
paths = helpers.Paths({"cloud_dir": "/nonexistent", "run_dir": "/nonexistent"})
message = user_data.UserDataProcessor(paths).process(base64.b64decode(sys.stdin.read()))
parts = [part for part in message.walk() if not part.is_multipart()]
contents = [base64.b64encode(part.get_payload(decode=True)).decode() for part in parts]
json.dump([[part.get_content_type() for part in parts], contents], sys.stdout)
"""


def version() -> tuple[int, ...]:
    """(0,) without cloud-init: the marks below ask before the one above skips."""
    if not PROGRAM:
        return (0,)
    shown = run(PROGRAM, "--version")
    found = re.search(r"(\d+)\.(\d+)", shown.stdout + shown.stderr)
    assert found
    return tuple(map(int, found.groups()))


def converted(case: str, renderer: str, folder: Path) -> str:
    """What a renderer writes for a golden network-config."""
    source = GOLDEN / case / "network-config"
    run("unshare", "--mount", "sh", "-c", _CONVERT, "sh", source, folder, renderer)
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return "\n".join(one.read_text() for one in files)


def sections(text: str) -> list[set[str]]:
    """The sections of systemd.network(5) files, each as its set of lines."""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return [set(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("case", CASES)
def test_netplan_gets_the_file_as_it_is(case: str, tmp_path: Path) -> None:
    expected = yaml.safe_load((GOLDEN / case / "network-config").read_text())
    assert yaml.safe_load(converted(case, "netplan", tmp_path)) == {"network": expected}


def test_networkd(tmp_path: Path) -> None:
    found = sections(converted("everything", "networkd", tmp_path))
    assert {"[Match]", "MACAddress=02:42:ac:1e:01:02", "Name=eth0"} in found
    assert {"[Link]", "MTUBytes=1450"} in found
    for address in ("172.30.1.2/24", "172.30.1.200/24", "fd00:30:1::2/64"):
        assert {"[Address]", f"Address={address}"} in found
    for destination, gateway in (
        ("0.0.0.0/0", "172.30.1.1"),
        ("10.2.0.0/16", "0.0.0.0"),
        ("10.3.0.0/16", "172.30.1.8"),
        ("fd00:99::/64", "::"),
        *([("::/0", "fe80::1")] if version() >= (23, 1) else []),  # before, it makes it ::/64
    ):
        wanted = {"[Route]", f"Destination={destination}", f"Gateway={gateway}"}
        assert any(wanted <= one for one in found), wanted
    assert any({"DNS=172.30.1.53", "Domains=example.org", "DHCP=no"} <= one for one in found)


def test_networkd_reaches_a_far_gateway(tmp_path: Path) -> None:
    found = sections(converted("calico", "networkd", tmp_path))
    assert {"[Route]", "Destination=169.254.1.1/32", "Gateway=0.0.0.0"} in found
    assert {"[Route]", "Destination=0.0.0.0/0", "Gateway=169.254.1.1"} in found


def test_ifupdown(tmp_path: Path) -> None:
    found = converted("everything", "eni", tmp_path)
    lines = {line.strip() for line in found.splitlines()}
    assert {"address 172.30.1.2/24", "address 172.30.1.200/24", "address fd00:30:1::2/64"} <= lines
    assert {"mtu 1450", "dns-nameservers 172.30.1.53", "dns-search example.org"} <= lines
    assert re.search(r"post-up .*route add default (gw|via) 172\.30\.1\.1\b", found)
    assert re.search(r"post-up .*route add .*10\.1\.0\.0/16 (gw|via) 172\.30\.1\.7\b", found)


@pytest.mark.parametrize("case", [case for case in CASES if case != "everything"])
def test_the_schema_accepts_the_user_data(case: str) -> None:
    run("cloud-init", "schema", "-c", GOLDEN / case / "user-data")


def test_the_schema_accepts_the_time_servers(tmp_path: Path) -> None:
    identity = testing.identity(ntp=testing.resolver("192.0.2.1", "2001:db8::1").nameservers)
    kinds, contents = processed(vendordata.vendor_data(identity, None))
    path = tmp_path / "vendor-data"
    path.write_bytes(contents[kinds.index("text/cloud-config")])
    run("cloud-init", "schema", "-c", path)


@pytest.mark.skipif(version() < (24, 1), reason="needs cloud-init 24.1, which tests/vm has")
def test_the_schema_accepts_the_network() -> None:
    for case in set(CASES) - KEYS_OF_NETPLAN:
        path = GOLDEN / case / "network-config"
        run("cloud-init", "schema", "--schema-type", "network-config", "-c", path)


MIME = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n#!/bin/sh\n--x--\n"


@pytest.mark.parametrize(
    ("own", "kind", "content"),
    [
        (b"#cloud-config\na: b\n", "text/cloud-config", None),
        (b"#!/bin/sh\r\necho\r\n", "text/x-shellscript", None),
        ("#!/bin/sh\necho grüße\n".encode(), "text/x-shellscript", None),
        (b"#cloud-boothook\n#!/bin/sh\n", "text/cloud-boothook", None),
        (b"## template: jinja\n#cloud-config\na: {{ b }}\n", "text/jinja2", None),
        (b"#cloud-config\n# MIME-Version: 1.0\na: b\n", "text/cloud-config", None),
        (gzip.compress(b"#!/bin/sh\n"), "text/x-shellscript", b"#!/bin/sh\n"),
        (MIME, "text/x-shellscript", b"#!/bin/sh"),
        (gzip.compress(MIME), "text/x-shellscript", b"#!/bin/sh"),
    ],
)
def test_the_users_vendor_data_beside_ours(own: bytes, kind: str, content: bytes | None) -> None:
    ours = testing.identity(ntp=testing.resolver("192.0.2.1").nameservers)
    kinds, contents = processed(vendordata.vendor_data(ours, own))
    assert kinds == ["text/cloud-boothook", "text/cloud-config", kind]
    assert contents[-1] == (own if content is None else content)


def processed(data: bytes) -> tuple[list[str], list[bytes]]:
    """What cloud-init's processor finds, by the Python that has cloud-init's modules."""
    assert PROGRAM
    shebang = Path(PROGRAM).read_text().splitlines()[0]
    python = shebang.removeprefix("#!").split()[0]
    found = run(python, "-c", _PROCESS, input=base64.b64encode(data).decode())
    kinds, contents = json.loads(found.stdout)
    return kinds, list(map(base64.b64decode, contents))
