"""The claim: under which id this container asks, and whom, on the disk before the first request.

Neither MAC nor host name tells containers apart: Docker makes MACs of addresses, and every host's
default bridge has the same ones. So an id is drawn for each start. An id that is on the disk is
released before another is drawn, and one that was released is never used again.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from vmnet.api import StateError, files, from_json, frozen, to_json

_VERSION = 1


@frozen
class Claim:
    """:param url: the service that was asked, whatever the settings name by now"""

    version: int
    id: str
    url: str

    @property
    def path(self) -> str:
        return f"/v1/allocations/{self.id}"


def stake(run_dir: Path, url: str) -> Claim:
    """A new claim, seen on the disk.

    :raises StateError: it can't be written
    """
    claim = Claim(_VERSION, str(uuid.uuid4()), url)
    files.write(_file(run_dir), to_json(claim).encode(), durable=True)
    return claim


def load(run_dir: Path) -> Claim | None:
    """The claim on the disk; None where there is none: nobody was asked.

    :raises StateError: it can't be read
    """
    path = _file(run_dir)
    try:
        claim = from_json(path.read_text(encoding="utf-8"), Claim)
        if claim.version != _VERSION or str(uuid.UUID(claim.id)) != claim.id:
            raise ValueError(f"version {claim.version}, id {claim.id!r}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(
            f"can't read {path}: {error}",
            "it tells what the service has allocated for this container; release that there and "
            f"remove it with `rm {path}`",
        ) from None
    return claim


def drop(run_dir: Path) -> None:
    """The claim was released."""
    _file(run_dir).unlink(missing_ok=True)


def _file(run_dir: Path) -> Path:
    return run_dir / "ipam-http.json"
