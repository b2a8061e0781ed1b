"""The claim: the id and service of an allocation, written to disk before the first request.

Neither MAC nor host name identifies a container: Docker derives MACs from addresses, which repeat
on the default bridge of every host. So each start draws a random id. An id on disk is released
before a new id is drawn, and a released id is never used again.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from vmnet.api import StateError, files, from_json, frozen, to_json

_VERSION = 1


@frozen
class Claim:
    """The id of an allocation and its service.

    :param url: the service that got the request; the settings may name another service by now
    """

    version: int
    id: str
    url: str

    @property
    def path(self) -> str:
        return f"/v1/allocations/{self.id}"


def create(run_dir: Path, url: str) -> Claim:
    """Write a new claim to disk and return it.

    :raises StateError: it can't be written
    """
    claim = Claim(_VERSION, str(uuid.uuid4()), url)
    files.write(_file(run_dir), to_json(claim).encode(), durable=True)
    return claim


def load(run_dir: Path) -> Claim | None:
    """Return the claim on disk; None if no request was made.

    :raises StateError: the file can't be read
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
            "the file identifies the allocation for this container; release the allocation at the "
            f"service, then `rm {path}`",
        ) from None
    return claim


def remove(run_dir: Path) -> None:
    """Remove the claim after its release."""
    _file(run_dir).unlink(missing_ok=True)


def _file(run_dir: Path) -> Path:
    return run_dir / "ipam-http.json"
