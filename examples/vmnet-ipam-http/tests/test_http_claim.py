"""The claim on disk: each is new, only root can read it, and a malformed file is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from vmnet_ipam_http import claim

from vmnet.api import StateError

URL = "https://ipam.example.org"
GOOD = {"version": 1, "id": "7e5f0c42-0000-4000-8000-000000000001", "url": URL}


def test_each_claim_has_a_new_id_and_only_root_can_read_it(tmp_path: Path) -> None:
    first = claim.create(tmp_path / "run", URL)
    assert claim.load(tmp_path / "run") == first
    second = claim.create(tmp_path / "run", URL)
    assert first.id != second.id
    assert claim.load(tmp_path / "run") == second
    assert second.path == f"/v1/allocations/{second.id}"
    assert stat.S_IMODE((tmp_path / "run/ipam-http.json").stat().st_mode) == 0o600
    claim.remove(tmp_path / "run")
    assert claim.load(tmp_path / "run") is None
    claim.remove(tmp_path / "run")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({**GOOD, "version": 2}),
        json.dumps({**GOOD, "id": "../../v1/allocations/other"}),
        json.dumps({**GOOD, "id": "7e5f0c42000040008000000000000001"}),
        json.dumps({**GOOD, "more": 1}),
    ],
)
def test_a_malformed_claim_is_refused_and_kept(content: str, tmp_path: Path) -> None:
    path = tmp_path / "ipam-http.json"
    path.write_text(content)
    with pytest.raises(StateError) as caught:
        claim.load(tmp_path)
    assert caught.value.message.startswith(f"can't read {path}: ")
    assert f"`rm {path}`" in caught.value.hint
    assert path.read_text() == content
