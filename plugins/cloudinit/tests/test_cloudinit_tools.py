"""Real cloud-init reads the golden seeds: this machine's version, and Debian trixie's."""

from __future__ import annotations

import base64
import gzip
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from vmnet_cloudinit import login, vendordata

from tests.lab.command import CommandError, Completed, run
from tests.lab.images.debian_host import debian_host
from tests.lab.net.namespace import namespace
from vmnet import testing

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(folder.name for folder in GOLDEN.iterdir())

# Newer versions write to the machine's /etc/netplan even if they are given another folder.
_CONVERT = """\
set -eu
test ! -d /etc/netplan || mount -t tmpfs none /etc/netplan
mkdir "$2"
cloud-init devel net-convert -k yaml -p "$1" -D debian -d "$2" -O "$3" >/dev/null
test ! -d /etc/netplan || cp -r /etc/netplan "$2/etc"
find "$2" -type f | sort | xargs cat
"""

# Prints the parts that cloud-init finds in user-data or vendor-data: type and content of each.
_PROCESS = """\
import base64, json, sys
from cloudinit import helpers, user_data
paths = helpers.Paths({"cloud_dir": "/nonexistent", "run_dir": "/nonexistent"})
message = user_data.UserDataProcessor(paths).process(base64.b64decode(sys.stdin.read()))
parts = [part for part in message.walk() if not part.is_multipart()]
contents = [base64.b64encode(part.get_payload(decode=True)).decode() for part in parts]
json.dump([[part.get_content_type() for part in parts], contents], sys.stdout)
"""


@frozen
class CloudInit:
    """A version of cloud-init on its machine.

    :param run: runs a program on the machine
    :param folder: a writable folder of the machine
    :param seen: translates a path of the machine to a path of this process
    """

    run: Callable[..., Completed]
    folder: Path
    seen: Callable[[str], Path] = Path

    @property
    def version(self) -> tuple[int, ...]:
        shown = self.run("cloud-init", "--version")
        found = re.search(r"(\d+)\.(\d+)", shown.stdout + shown.stderr)
        assert found
        return tuple(map(int, found.groups()))

    def write(self, content: bytes) -> str:
        """Write a file with this content; return its path."""
        path = str(self.folder / uuid.uuid4().hex)
        self.seen(path).write_bytes(content)
        return path

    def converted(self, case: str, renderer: str) -> str:
        """Return what a renderer writes for a golden network-config."""
        source = self.write((GOLDEN / case / "network-config").read_bytes())
        script = ("sh", "-c", _CONVERT, "sh", source, f"{source}.d", renderer)
        return self.run("unshare", "--mount", *script).stdout

    def accepts(self, content: bytes, *options: str) -> None:
        """Check the content with ``cloud-init schema``."""
        checked = self.run("cloud-init", "schema", "-c", self.write(content), *options)
        assert "Valid" in checked.stdout, checked

    def processed(self, data: bytes) -> tuple[list[str], list[bytes]]:
        """Return types and contents of the parts that cloud-init's processor finds."""
        found = self.run("/usr/bin/python3", "-c", _PROCESS, input=base64.b64encode(data).decode())
        kinds, contents = json.loads(found.stdout)
        return kinds, list(map(base64.b64decode, contents))


@pytest.fixture(scope="module")
def trixie() -> Iterator[CloudInit]:
    with namespace("trixie") as network, debian_host(network) as host:
        yield CloudInit(host.run, Path("/tmp"), host.path)


@pytest.fixture(params=["machine", "trixie"])
def cloud_init(request: pytest.FixtureRequest, tmp_path: Path) -> CloudInit:
    if request.param == "machine":
        return CloudInit(run, tmp_path)
    found: CloudInit = request.getfixturevalue("trixie")
    return found


def sections(text: str) -> list[set[str]]:
    """Return the sections of systemd.network(5) files, each as its set of lines."""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return [set(part.split()) for part in parts if part.strip()]


@pytest.mark.parametrize("case", CASES)
def test_netplan_gets_the_file_unchanged(cloud_init: CloudInit, case: str) -> None:
    expected = yaml.safe_load((GOLDEN / case / "network-config").read_text())
    assert yaml.safe_load(cloud_init.converted(case, "netplan")) == {"network": expected}


def test_networkd(cloud_init: CloudInit) -> None:
    found = sections(cloud_init.converted("everything", "networkd"))
    assert {"[Match]", "MACAddress=02:42:ac:1e:01:02", "Name=eth0"} in found
    assert {"[Link]", "MTUBytes=1450"} in found
    for address in ("172.30.1.2/24", "172.30.1.200/24", "fd00:30:1::2/64"):
        assert {"[Address]", f"Address={address}"} in found
    for destination, gateway in (
        ("0.0.0.0/0", "172.30.1.1"),
        ("10.2.0.0/16", "0.0.0.0"),
        ("10.3.0.0/16", "172.30.1.8"),
        ("fd00:99::/64", "::"),
        *(
            [("::/0", "fe80::1")] if cloud_init.version >= (23, 1) else []
        ),  # before 23.1, cloud-init writes ::/64
    ):
        wanted = {"[Route]", f"Destination={destination}", f"Gateway={gateway}"}
        assert any(wanted <= section for section in found), wanted
    dns = {"DNS=172.30.1.53", "Domains=example.org", "DHCP=no"}
    assert any(dns <= section for section in found)


def test_networkd_reaches_a_far_gateway(cloud_init: CloudInit) -> None:
    found = sections(cloud_init.converted("calico", "networkd"))
    assert {"[Route]", "Destination=169.254.1.1/32", "Gateway=0.0.0.0"} in found
    assert {"[Route]", "Destination=0.0.0.0/0", "Gateway=169.254.1.1"} in found


def test_ifupdown(cloud_init: CloudInit) -> None:
    found = cloud_init.converted("everything", "eni")
    lines = {line.strip() for line in found.splitlines()}
    assert {"address 172.30.1.2/24", "address 172.30.1.200/24", "address fd00:30:1::2/64"} <= lines
    assert {"mtu 1450", "dns-nameservers 172.30.1.53", "dns-search example.org"} <= lines
    assert re.search(r"post-up .*route add default (gw|via) 172\.30\.1\.1\b", found)
    assert re.search(r"post-up .*route add .*10\.1\.0\.0/16 (gw|via) 172\.30\.1\.7\b", found)


@pytest.mark.parametrize("case", [case for case in CASES if case != "everything"])
def test_the_schema_accepts_the_user_data(cloud_init: CloudInit, case: str) -> None:
    cloud_init.accepts((GOLDEN / case / "user-data").read_bytes())


def test_the_schema_accepts_the_time_servers(cloud_init: CloudInit) -> None:
    identity = testing.identity(ntp=testing.resolver("192.0.2.1", "2001:db8::1").nameservers)
    kinds, contents = cloud_init.processed(vendordata.vendor_data(identity, None))
    cloud_init.accepts(contents[kinds.index("text/cloud-config")])


def test_the_schema_accepts_the_password_and_the_agent(cloud_init: CloudInit) -> None:
    config = login.config("$6$salt$hash", installs_agent=True)
    vendor_data = vendordata.vendor_data(testing.identity(), None, config)
    kinds, contents = cloud_init.processed(vendor_data)
    cloud_init.accepts(contents[kinds.index("text/cloud-config")])


@pytest.mark.parametrize("case", CASES)
def test_the_schema_accepts_the_network(trixie: CloudInit, case: str) -> None:
    """The schema is netplan's, if netplan is installed. cloud-init before 24.1 has none."""
    network = (GOLDEN / case / "network-config").read_bytes()
    trixie.accepts(network, "--schema-type", "network-config")


def test_the_schema_refuses_an_unknown_word(trixie: CloudInit) -> None:
    network = (GOLDEN / "everything" / "network-config").read_bytes()
    with pytest.raises(CommandError, match="Invalid network-config"):
        trixie.accepts(network + b"gateway: wrong\n", "--schema-type", "network-config")


@pytest.mark.parametrize("case", CASES)
def test_netplan_generates_from_it(trixie: CloudInit, case: str) -> None:
    root = trixie.write(b"") + ".root"
    trixie.seen(f"{root}/etc/netplan").mkdir(parents=True)
    config = trixie.seen(f"{root}/etc/netplan/50-cloud-init.yaml")
    config.write_text(trixie.converted(case, "netplan"))
    config.chmod(0o600)
    trixie.run("netplan", "generate", "--root-dir", root)
    files = [file.read_text() for file in trixie.seen(root).rglob("*.network")]
    network = yaml.safe_load((GOLDEN / case / "network-config").read_text())
    nics = network["ethernets"].values()
    addresses = [address for nic in nics for address in nic.get("addresses", ())]
    lines = {line for text in files for line in text.splitlines()}
    assert addresses
    assert {f"Address={address}" for address in addresses} <= lines


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
        (gzip.compress(b"#!/bin/sh\n", mtime=0), "text/x-shellscript", b"#!/bin/sh\n"),
        (MIME, "text/x-shellscript", b"#!/bin/sh"),
        (gzip.compress(MIME, mtime=0), "text/x-shellscript", b"#!/bin/sh"),
    ],
)
def test_the_users_vendor_data_is_added_to_vmnets(
    cloud_init: CloudInit, own: bytes, kind: str, content: bytes | None
) -> None:
    identity = testing.identity(ntp=testing.resolver("192.0.2.1").nameservers)
    kinds, contents = cloud_init.processed(vendordata.vendor_data(identity, own))
    assert kinds == ["text/cloud-boothook", "text/cloud-config", kind]
    assert contents[-1] == (own if content is None else content)
