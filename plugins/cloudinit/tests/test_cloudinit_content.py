"""The user's content is passed on byte for byte, or refused with a remedy."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycdlib import PyCdlib
from vmnet_cloudinit import content, iso, seed

from vmnet import testing
from vmnet.api import SettingsError

MIME = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n#!/bin/sh\n--x--\n"

UNDERSTOOD = {
    "cloud-config": b"#cloud-config\nruncmd: [ls]\n",
    "cloud-config-empty": b"#cloud-config\n",
    "cloud-config-json": b'#cloud-config\n{"runcmd": ["ls"]}',
    "cloud-config-crlf": b"#cloud-config\r\nruncmd: [ls]\r\n",
    "cloud-config-after-space": b"\n  #Cloud-Config\nruncmd: [ls]\n",
    "cloud-config-about-mime": b"#cloud-config\n# MIME-Version: 1.0\nruncmd: [ls]\n",
    "archive": b"#cloud-config-archive\n- content: x\n",
    "jsonp": b'#cloud-config-jsonp\n[{"op": "add", "path": "/a", "value": 1}]\n',
    "script": "#!/bin/sh\necho grüße\n".encode(),
    "boothook": b"#cloud-boothook\n#!/bin/sh\n",
    "part-handler": b"#part-handler\ndef list_types(): return []\n",
    "include": b"#include\nhttp://192.0.2.1/user-data\n",
    "include-once": b"#include-once\nhttp://192.0.2.1/user-data\n",
    "jinja": b"## template: jinja\n#cloud-config\n{% if x %}a: [{% endif %}\n",
    "mime": MIME,
    "gzip": gzip.compress(b"#!/bin/sh\n", mtime=0),
    "gzip-mime": gzip.compress(MIME, mtime=0),
}
REFUSED = {
    b"": "is empty",
    b" \n\t\n": "is empty",
    b"runcmd: [ls]\n": "does not start with a type that cloud-init recognises",
    b"user-data.yaml": "does not start with a type that cloud-init recognises",
    b"#clod-config\n": "does not start with a type that cloud-init recognises",
    b"\xef\xbb\xbf#cloud-config\na: b\n": "does not start with a type that cloud-init recognises",
    b"#!/bin/sh\necho \xff\n": "does not start with a type that cloud-init recognises",
    b"#cloud-config\na: b: c\n": "not valid YAML: line 2, column 5: mapping values are not allowed",
    b"#cloud-config\n\ta: b\n": "not valid YAML: line 2, column 1: ",
    b"#cloud-config\na: !!python/object:os.system x\n": "not valid YAML: line 2, column 4: ",
    b"#cloud-config\n- a\n": "contains a list, not a mapping of keys",
    b"#cloud-config\npassword\n": "contains a str, not a mapping of keys",
    b"#cloud-config-archive\na: b\n": "contains a dict, not a list",
    gzip.compress(b"#!/bin/sh\n" * 99, mtime=0)[:-9]: "is damaged gzip data",
    gzip.compress(
        b"nothing known", mtime=0
    ): "does not start with a type that cloud-init recognises",
    gzip.compress(
        b"#!/bin/sh\n" + bytes(content.LIMIT), mtime=0
    ): "is more than 4 MiB when decompressed",
    b"#!/bin/sh\n" + b"x" * content.LIMIT: "is larger than 4 MiB",
}


@pytest.mark.parametrize("given", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_content_that_cloud_init_recognises_is_unchanged(given: bytes, tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(given)
    assert content.load("VMNET_USER_DATA", path) == given
    if b"\0" not in given:  # an environment variable contains no NUL
        assert content.load("VMNET_USER_DATA", os.fsdecode(given)) == given


@pytest.mark.parametrize(("given", "problem"), REFUSED.items(), ids=REFUSED.values())
def test_content_that_cloud_init_would_ignore_is_refused(
    given: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "user-data"
    path.write_bytes(given)
    with pytest.raises(SettingsError, match=problem) as caught:
        content.load("VMNET_USER_DATA", path)
    assert caught.value.message.startswith(f"VMNET_USER_DATA={path} ")
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_an_unset_variable_has_no_content() -> None:
    assert content.load("VMNET_USER_DATA", None) is None


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file") as caught:
        content.load("VMNET_USER_DATA", tmp_path / "none")
    assert caught.value.hint == f"mount it: `-v /path/on/the/host:{tmp_path / 'none'}:ro`"


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo, Path("/dev/null")):
        with pytest.raises(SettingsError, match="is not a regular file"):
            content.load("VMNET_USER_DATA", path)


@pytest.mark.parametrize("path", ["/proc/self/mem", "/nul\0"], ids=["io-error", "nul"])
def test_a_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(SettingsError, match="cannot read VMNET_USER_DATA"):
        content.load("VMNET_USER_DATA", Path(path))


@pytest.mark.parametrize("given", ["#cloud-config\npassword: hunter2: x\n", "password: hunter2\n"])
def test_passwords_stay_out_of_errors(given: str) -> None:
    with pytest.raises(SettingsError) as caught:
        content.load("VMNET_USER_DATA", given)
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SettingsError):
        content.load("VMNET_USER_DATA", "#cloud-config\na: " + "[" * 100_000)


@given(
    st.sampled_from([b"", b"\n", *UNDERSTOOD.values()]),
    st.binary() | st.text().map(str.encode),
    st.booleans(),
)
def test_every_byte_arrives_or_is_refused(start: bytes, rest: bytes, zipped: bool) -> None:
    """The content arrives in the image."""
    whole = gzip.compress(start + rest, mtime=0) if zipped else start + rest
    refusal, own = None, None
    try:
        own = content.load("VMNET_USER_DATA", os.fsdecode(whole))
    except SettingsError as caught:
        refusal = caught
    if refusal:
        assert refusal.message.startswith("VMNET_USER_DATA ")
        assert refusal.hint
        return
    identity = testing.identity()
    files = seed.files(identity, testing.wiring(identity), content.UserContent(own, own))
    assert files["user-data"] == whole
    assert read_back(iso.image("cidata", files)) == files


def read_back(image: bytes) -> dict[str, bytes]:
    disc = PyCdlib()
    disc.open_fp(io.BytesIO(image))
    files = {}
    for name in ("meta-data", "network-config", "user-data", "vendor-data"):
        with disc.open_file_from_iso(rr_path=f"/{name}") as file:
            files[name] = file.read()
    disc.close()
    return files
