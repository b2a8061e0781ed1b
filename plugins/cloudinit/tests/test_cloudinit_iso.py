"""The image, read by other programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from vmnet_cloudinit import iso

from tests.lab.command import run

FILES = {
    "meta-data": b"instance-id: x\n",
    "network-config": b"n" * 2048,
    "user-data": b"\0\x1f\x8b" * 4096,
    "vendor-data": b"#!/bin/sh\n",
}

needs_isoinfo = pytest.mark.skipif(not shutil.which("isoinfo"), reason="needs genisoimage")
needs_xorriso = pytest.mark.skipif(not shutil.which("xorriso"), reason="needs xorriso")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "seed.iso"
    path.write_bytes(iso.image("cidata", FILES))
    return path


def test_the_bytes_depend_only_on_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = iso.image("cidata", FILES)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.5)
    assert iso.image("cidata", FILES) == before
    assert iso.image("cidata", {**FILES, "user-data": b"other"}) != before


def test_the_label_is_cidata(image: Path) -> None:
    found = run("blkid", "-p", "-o", "export", image).stdout.splitlines()
    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(found)


@needs_isoinfo
@pytest.mark.parametrize("names", ["-R", "-J"], ids=["rock-ridge", "joliet"])
def test_both_kinds_of_names(image: Path, names: str) -> None:
    listed = run("isoinfo", "-i", image, names, "-f").stdout.split()
    assert sorted(listed) == sorted(f"/{name}" for name in FILES)


@needs_xorriso
def test_another_program_reads_the_content(image: Path, tmp_path: Path) -> None:
    run("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == FILES


@needs_isoinfo
def test_every_date_is_the_fixed_date(image: Path) -> None:
    listed = run("isoinfo", "-i", image, "-l", "-R").stdout.splitlines()
    assert all("Jan  1 1980" in line for line in listed if line.startswith(("-", "d")))
