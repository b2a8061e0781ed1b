"""The packed copy of the saved state: what was packed comes back, and nothing else."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.lifecycle.packing import pack, unpack


@given(st.binary(max_size=2000))
def test_a_document_survives_the_round_trip(document: bytes) -> None:
    assert unpack(pack(document)) == document


@given(st.binary(max_size=2000), st.data())
def test_a_truncated_document_is_refused(document: bytes, data: st.DataObject) -> None:
    packed = pack(document)
    with pytest.raises(ValueError, match=r"incomplete|checksum"):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(st.binary(max_size=2000), st.data())
def test_a_changed_document_is_refused(document: bytes, data: st.DataObject) -> None:
    packed = bytearray(pack(document))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"format|checksum"):
        unpack(bytes(packed))


@given(st.binary(min_size=1, max_size=200))
def test_no_other_bytes_are_a_document(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"incomplete|format|checksum"):
        unpack(data)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (zlib.compress(bytes(1 << 23)), "too long"),
        (zlib.compress(b"{}") + b"more", "too long or incomplete"),
        (zlib.compress(b"{}")[:-1], "incomplete"),
        (b"no zlib", "incorrect header"),
    ],
)
def test_a_valid_checksum_is_not_enough(content: bytes, why: str) -> None:
    header = b"\x01" + zlib.crc32(content).to_bytes(4, "big")
    with pytest.raises(ValueError, match=why):
        unpack(header + content)
