"""Links and time servers reach the guest in addition to the user's vendor-data."""

from __future__ import annotations

import email
import gzip
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from vmnet_cloudinit.vendordata import vendor_data

from tests.lab.command import run
from vmnet import testing
from vmnet.api import Host, Identity

LINKED = testing.identity(
    hosts=(
        Host(ip_address("172.17.0.9"), ("db", "db.example.org")),
        Host(ip_address("fd00::9"), ("db",)),
    )
)
TIMED = testing.identity(ntp=(ip_address("192.0.2.123"), IPv6Address("2001:db8::123%eth0")))
MIME = b'Content-Type: multipart/mixed; boundary="x"\nMIME-Version: 1.0\n\n--x\n\n#!/bin/sh\n--x--'


def parts(identity: Identity, own: bytes | None = None) -> list[tuple[str, Any]]:
    """Parse type and content of each part with Python's parser, which cloud-init uses."""
    message = email.message_from_string(vendor_data(identity, own).decode())
    return [
        (part.get_content_type(), part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]


def test_a_single_part_is_no_mime_message() -> None:
    assert vendor_data(testing.identity(), None).startswith(b"#cloud-boothook\n#!/bin/sh\n")


def test_time_servers_are_a_cloud_config() -> None:
    _, (kind, config) = parts(TIMED)
    assert kind == "text/cloud-config"
    assert config.startswith(b"#cloud-config\n")
    assert yaml.safe_load(config) == {
        "ntp": {"enabled": True, "servers": ["192.0.2.123", "2001:db8::123"]}
    }


def test_shared_folders_are_mounted_at_every_boot() -> None:
    folders = (Path("/srv/data"), Path("/media"))
    message = email.message_from_bytes(vendor_data(testing.identity(), None, None, folders))
    _, script = [part.get_payload() for part in message.walk() if not part.is_multipart()]
    assert isinstance(script, str)
    assert script.startswith("#cloud-boothook\n#!/bin/sh\n")
    assert script.endswith("share srv-data /srv/data\nshare media /media\n")


@pytest.mark.parametrize(
    "own",
    [
        b"#cloud-config\nntp: {}\n",
        b"#!/bin/sh",
        b"#!/bin/sh\n\n\n",
        b"#!/bin/sh\r\necho\r\n",
        "#!/bin/sh\necho grüße\n".encode(),
        b"#!/bin/sh\n--vmnet--\n\n--vmnet\n",
        b"## template: jinja\n#cloud-config\n",
    ],
)
def test_the_users_document_is_last_and_unchanged(own: bytes) -> None:
    assert parts(TIMED, own)[-1] == ("text/plain", own)


@given(st.binary() | st.text().map(str.encode))
def test_no_document_loses_a_byte(tail: bytes) -> None:
    own = b"#!" + tail
    assert parts(LINKED, own)[1:] == [("text/plain", own)]


def test_a_compressed_document_is_expanded() -> None:
    assert parts(LINKED, gzip.compress(b"#!/bin/sh\n", mtime=0))[-1][1] == b"#!/bin/sh\n"


@pytest.mark.parametrize("own", [MIME, gzip.compress(MIME, mtime=0)], ids=["plain", "compressed"])
def test_a_mime_message_becomes_a_part(own: bytes) -> None:
    assert MIME in vendor_data(LINKED, own)
    assert parts(LINKED, own)[-1] == ("text/plain", b"#!/bin/sh")


# -- the script that keeps /etc/hosts ---------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    templates = tmp_path / "etc/cloud/templates"
    templates.mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text("127.0.0.1\tlocalhost\n10.0.0.1\tmine # of the user\n")
    (templates / "hosts.debian.tmpl").write_text("## template:jinja\n127.0.1.1 {{fqdn}}\n")
    (templates / "chrony.conf.debian.tmpl").write_text("not a hosts file\n")
    return tmp_path


def boot(root: Path, identity: Identity) -> dict[str, str]:
    """Run the script as cloud-init does, for files below ``root``; return all its files."""
    script = vendor_data(identity, None).decode().removeprefix("#cloud-boothook").lstrip()
    path = root.with_suffix(".sh")
    path.write_text(script.replace("/etc/", f"{root}/etc/"))
    run("sh", path)
    files = (path for path in root.rglob("*") if path.is_file())
    return {file.name: file.read_text() for file in files}


NAMELESS = testing.identity(hostname="")
ADDED = "172.17.0.9\tdb db.example.org\t# vmnet\nfd00::9\tdb\t# vmnet\n"


def test_links_are_added_once(root: Path) -> None:
    before = boot(root, testing.identity())
    once, twice = boot(root, LINKED), boot(root, LINKED)
    assert once == twice
    assert once["hosts"] == before["hosts"] + ADDED
    assert once["hosts.debian.tmpl"] == before["hosts.debian.tmpl"] + ADDED
    assert once["chrony.conf.debian.tmpl"] == "not a hosts file\n"


def test_links_are_removed_with_their_container(root: Path) -> None:
    before = boot(root, testing.identity())
    boot(root, LINKED)
    assert boot(root, testing.identity()) == before


def test_a_file_that_needs_no_change_is_not_written(root: Path) -> None:
    hosts = root / "etc/hosts"
    hosts.write_text("127.0.0.1 localhost")  # without a final newline
    boot(root, NAMELESS)
    assert hosts.read_text() == "127.0.0.1 localhost"


def test_a_missing_file_is_created(root: Path) -> None:
    (root / "etc/hosts").unlink()
    assert "hosts" not in boot(root, NAMELESS)
    assert boot(root, LINKED)["hosts"].strip() == f"172.17.0.2\tweb\t# vmnet\n{ADDED}".strip()


@pytest.mark.parametrize(
    ("domain", "own"),
    [
        ("", "172.17.0.2\tWEB-01\t# vmnet"),
        ("example.org", "172.17.0.2\tWEB-01.example.org WEB-01\t# vmnet"),
    ],
)
def test_the_guest_knows_its_own_name_as_the_container_does(
    root: Path, domain: str, own: str
) -> None:
    files = boot(root, testing.identity(hostname="WEB-01", domain=domain))
    assert files["hosts"].splitlines()[-1] == own
