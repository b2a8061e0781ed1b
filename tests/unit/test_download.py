"""Images from URLs: downloaded from a server with TLS, continued, and used only when verified."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import re
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from attrs import define, field

from vmnet import testing
from vmnet.cli import run
from vmnet.errors import MachineError, SettingsError
from vmnet.lifecycle import download
from vmnet.planning.storage import disk_settings, disks
from vmnet.planning.storage.image import record
from vmnet.settings.disk_values import DiskValue

IMAGE = random.Random(1).randbytes(3 << 20)
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@define
class Site:
    """A web server with an image.

    :param most: bytes after which each answer breaks off; None: it does not
    :param ranges: whether it can continue a download
    :param asked: the range that each request asks for
    """

    url: str = ""
    image: bytes = IMAGE
    most: int | None = None
    ranges: bool = True
    asked: list[str] = field(factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.site.asked.append(asked)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://[/")
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(re.sub(r"\D", "", asked)) if asked and self.site.ranges else 0
        if start and start >= len(self.site.image):
            self.send_error(416)
            return
        body = self.site.image[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.site.most])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0)
    made = Site()
    handler = type("Handler", (_Handler,), {"site": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        made.url = f"https://127.0.0.1:{server.server_address[1]}/disk.img"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def fetch(site: Site, state: Path, sha256: str = SHA256) -> Path:
    """Download VMNET_DISK, and return the path of the image."""
    environ = {
        "VMNET_DISK": f"{site.url},bus=sata",
        "VMNET_DISK_SHA256": sha256,
        "VMNET_DISK_STATE": str(state),
    }
    settings = testing.settings(environ)
    run._download(settings)
    (disk,) = disks.plan(settings)
    assert disk.bus == "sata"
    return disk.path


def test_an_image_is_downloaded_once(site: Site, tmp_path: Path) -> None:
    image = fetch(site, tmp_path / "state")
    assert image == tmp_path / "state" / "downloads" / f"{SHA256[:16]}-disk.img"
    assert image.read_bytes() == IMAGE
    image.write_bytes(b"written by the guest".ljust(1 << 20, b"\0"))
    assert fetch(site, tmp_path / "state") == image
    assert site.asked == [""]
    assert [path.name for path in image.parent.iterdir()] == [image.name]


def test_a_lost_connection_is_continued(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    site.most = 1 << 20
    assert fetch(site, tmp_path).read_bytes() == IMAGE
    assert site.asked == ["", "bytes=1048576-", "bytes=2097152-"]
    assert "the connection ended early; trying again" in caplog.text
    assert f"downloading {site.url}: 1 of 3 MiB" in caplog.text


def test_the_next_start_continues(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / f"{SHA256[:16]}-disk.img.part"
    part.parent.mkdir()
    part.write_bytes(IMAGE[:12345])
    assert fetch(site, tmp_path).read_bytes() == IMAGE
    assert site.asked == ["bytes=12345-"]


def test_a_complete_file_is_verified_without_a_further_download(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / f"{SHA256[:16]}-disk.img.part"
    part.parent.mkdir()
    part.write_bytes(IMAGE)
    assert fetch(site, tmp_path).read_bytes() == IMAGE
    assert not part.exists()


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / f"{SHA256[:16]}-disk.img.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * (5 << 20))
    site.ranges = False
    assert fetch(site, tmp_path).read_bytes() == IMAGE


def test_a_server_that_sends_nothing_is_given_up(site: Site, tmp_path: Path) -> None:
    site.most = 0
    with pytest.raises(MachineError, match="can't be downloaded: the connection ended early"):
        fetch(site, tmp_path)
    assert len(site.asked) == 5


def test_another_checksum_is_refused_and_the_file_removed(site: Site, tmp_path: Path) -> None:
    site.image = IMAGE[:-1] + b"x"
    found = hashlib.sha256(site.image).hexdigest()
    with pytest.raises(MachineError) as caught:
        fetch(site, tmp_path)
    assert caught.value.message == (f"VMNET_DISK={site.url} has the SHA-256 {found}, not {SHA256}")
    assert list((tmp_path / "downloads").iterdir()) == []


def test_errors_name_the_variable_and_the_reason(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.url = site.url.replace("disk.img", "missing")
    with pytest.raises(MachineError, match=r"VMNET_DISK=https://.*/missing can't be .*Not Found"):
        fetch(site, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    with pytest.raises(MachineError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(site, tmp_path)


def test_two_starts_do_not_write_to_the_same_file(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / f"{SHA256[:16]}-disk.img.part"
    part.parent.mkdir()
    with (
        download._locked(part, "VMNET_DISK"),
        pytest.raises(MachineError, match="another start is downloading VMNET_DISK"),
    ):
        fetch(site, tmp_path)


def test_an_image_that_another_start_has_completed_is_left_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its VM may write to the image already. Both starts found it missing."""
    site.ranges = False
    image = tmp_path / "downloads" / f"{SHA256[:16]}-disk.img"
    part = image.with_name(f"{image.name}.part")
    image.parent.mkdir()
    lock, content = fcntl.flock, b"the guest".ljust(512)

    def rename(file: int, operation: int) -> None:
        part.rename(image)
        image.write_bytes(content)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", rename)
    assert fetch(site, tmp_path).read_bytes() == content

    def create(file: int, operation: int) -> None:
        image.write_bytes(content)
        lock(file, operation)

    image.unlink()
    monkeypatch.setattr(fcntl, "flock", create)
    assert fetch(site, tmp_path).read_bytes() == content
    assert list(image.parent.iterdir()) == [image]
    assert site.asked == []


@pytest.mark.parametrize("url", ["https://[/a", f"https://{'a' * 64}.example/a"])
def test_an_invalid_url_is_an_error(url: str, tmp_path: Path) -> None:
    disk = DiskValue(tmp_path / "a", url=url, sha256=SHA256)
    with pytest.raises(MachineError, match=r"VMNET_DISK=.* can't be downloaded"):
        download.fetch({"VMNET_DISK": disk})


def test_an_invalid_redirect_is_an_error(site: Site, tmp_path: Path) -> None:
    site.url = site.url.replace("disk.img", "moved")
    with pytest.raises(MachineError, match=r"VMNET_DISK=.* can't be downloaded"):
        fetch(site, tmp_path)


def test_another_image_does_not_replace_the_disk_of_earlier_starts(
    site: Site, tmp_path: Path
) -> None:
    """Its name may be another one, too. What the guest has written would seem to be lost."""
    disk = fetch(site, tmp_path)
    record.write(disk, "raw", "web")
    site.image = IMAGE[:-1] + b"x"
    sha256 = hashlib.sha256(site.image).hexdigest()
    environ = {
        "VMNET_DISK": site.url,
        "VMNET_DISK_SHA256": sha256,
        "VMNET_DISK_STATE": str(tmp_path),
    }
    asked = list(site.asked)
    for act in (run._download, disks.plan):
        with pytest.raises(MachineError) as caught:
            act(testing.settings(environ))
        assert caught.value.message == (
            f"VMNET_DISK={site.url} would be a new disk; the disk of earlier starts is {disk}"
        )
        assert f"or VMNET_DISK={disk}" in caught.value.hint
    assert site.asked == asked
    with writing(disk):  # by another VM, whose disk it is
        fetch(site, tmp_path, sha256)
    disk.rename(tmp_path / "moved")
    assert fetch(site, tmp_path, sha256).read_bytes() == site.image
    assert (tmp_path / "moved").read_bytes() == IMAGE


def test_another_image_of_disks_that_the_guest_only_reads(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path)  # without the record of a start whose guest writes
    site.image = IMAGE[:-1] + b"x"
    assert fetch(site, tmp_path, hashlib.sha256(site.image).hexdigest()).exists()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Lock a file as QEMU does when it writes to it."""
    query = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0)
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, query)
        yield


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    environ = {
        "VMNET_DISK": f"https://192.0.2.1/{'a' * 300}.img",
        "VMNET_DISK_SHA256": SHA256,
        "VMNET_DISK_STATE": str(tmp_path),
    }
    (value,) = disk_settings.disks(testing.settings(environ)).values()
    assert not value.path.exists()
    assert value.path.name.endswith("aaa.img")


def test_a_plan_does_not_download(site: Site, tmp_path: Path) -> None:
    environ = {
        "VMNET_DISK2": f"{site.url},sha256={SHA256.upper()}",
        "VMNET_DISK_STATE": str(tmp_path),
    }
    with pytest.raises(MachineError, match="has not been downloaded to") as caught:
        disks.plan(testing.settings(environ))
    assert "`vmnet run` downloads" in caught.value.hint
    assert site.asked == []


def test_a_folder_that_cannot_keep_the_download(site: Site, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.touch()
    environ = {"VMNET_DISK2": f"{site.url},sha256={SHA256}", "VMNET_DISK_STATE": str(state)}
    settings = testing.settings(environ)
    refusal = (
        f"^VMNET_DISK_STATE={state} can't keep the download of VMNET_DISK2={site.url}: {state} "
    )
    with pytest.raises(MachineError, match=refusal):
        disks.plan(settings)
    with pytest.raises(MachineError, match=refusal):
        download.fetch(disk_settings.disks(settings))
    assert site.asked == []


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        (
            {"VMNET_DISK": "https://192.0.2.1/a.img"},
            "VMNET_DISK=https://192.0.2.1/a.img needs a checksum",
            "VMNET_DISK_SHA256",
        ),
        (
            {"VMNET_DISK3": "https://192.0.2.1/a.img"},
            "VMNET_DISK3=https://192.0.2.1/a.img needs a checksum",
            "VMNET_DISK3's sha256",
        ),
        (
            {"VMNET_DISK": "/a.img", "VMNET_DISK_SHA256": SHA256},
            "VMNET_DISK_SHA256 is only for a disk from a URL, but VMNET_DISK=/a.img is a file",
            "unset VMNET_DISK_SHA256",
        ),
    ],
)
def test_a_url_and_a_checksum_need_each_other(
    environ: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        disk_settings.disks(testing.settings(environ))
    assert caught.value.message == message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "url", ["https://user:secret@192.0.2.1/a", "https://192.0.2.1", "http:///a"]
)
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="is not a URL such as"):
        testing.settings({"VMNET_DISK": url})
