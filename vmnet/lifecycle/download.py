"""Download disk images before a start. An interrupted download continues at the next start.

The image is used only when its checksum is right. Its path contains the checksum, so a file there
has been verified, and is the VM's disk from then on.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

from vmnet.errors import MachineError
from vmnet.planning.storage import downloads
from vmnet.settings.disk_values import DiskValue

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60.0  # without any data
_REPORT_SECONDS = 10.0
_ATTEMPTS = 5  # in a row without any data
_PAUSE_SECONDS = 2.0
_MIB = 1 << 20


def fetch(disks: Mapping[str, DiskValue]) -> None:
    """Download each disk from a URL that is not there yet.

    :param disks: by variable
    :raises MachineError: a download fails or is not possible, or the image has another checksum
    """
    for variable, disk in disks.items():
        if disk.url and not disk.path.exists():
            downloads.require_possible(variable, disk, disks.values())
            try:
                _fetch(variable, disk)
            except (OSError, ValueError) as error:  # the latter: an invalid URL, also of a redirect
                raise _failed(variable, disk, error) from None


def _fetch(variable: str, disk: DiskValue) -> None:
    disk.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = disk.path.with_name(f"{disk.path.name}{downloads.PART}")
    with _locked(part, variable) as file:
        if disk.path.exists():  # another start has just completed it, and its VM may use the image
            _discard_new(part, file)
            return
        _complete(file, disk)
        _log.info("%s: verifying %s", variable, part, extra={"event": "disk.verifying"})
        found = _sha256(file)
        if found != disk.sha256:
            part.unlink()
            raise MachineError(
                f"{variable}={disk.url} has the SHA-256 {found}, not {disk.sha256}",
                "the publisher may have replaced the image: compare the checksum with his list",
            )
        os.fsync(file.fileno())
        part.rename(disk.path)


@contextmanager
def _locked(part: Path, variable: str) -> Iterator[BufferedRandom]:
    """Open the incomplete file, to which no other start may write meanwhile."""
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(
                f"another start is downloading {variable} to {part}",
                "wait for it, or give each VM a VMNET_DISK_STATE of its own",
            ) from None
        yield file


def _discard_new(part: Path, file: BufferedRandom) -> None:
    """Remove the incomplete file, unless it is the image that another start has renamed."""
    if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
        part.unlink()


def _complete(file: BufferedRandom, disk: DiskValue) -> None:
    """Download what is missing. Continue after a lost connection, as long as data arrive."""
    failures = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            if _continue(file, disk.url):
                return
            reason = "the connection ended early"
        except (OSError, http.client.HTTPException) as error:
            if not _is_transient(error):
                raise
            reason = str(error) or type(error).__name__
        failures = 1 if file.seek(0, os.SEEK_END) > before else failures + 1
        if failures >= _ATTEMPTS:
            raise OSError(None, reason)
        _log.warning(
            "downloading %s: %s; trying again",
            disk.url,
            reason,
            extra={"event": "disk.download_retried"},
        )
        time.sleep(_PAUSE_SECONDS)


def _is_transient(error: Exception) -> bool:
    """Return whether the connection was lost or refused, as when the server restarts."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(cause, (TimeoutError, ConnectionError, http.client.HTTPException))


def _continue(file: BufferedRandom, url: str) -> bool:
    """Download from the end of the file on, and return whether the image is complete."""
    start = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing is missing, as far as the server knows
        raise
    with answer:
        if start and answer.status != http.client.PARTIAL_CONTENT:
            start = file.seek(0)  # the server can't continue
            file.truncate()
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isascii() and length.isdecimal() else None
        _copy(answer, file, url, total)
    return total is None or file.tell() >= total


def _copy(
    answer: http.client.HTTPResponse, file: BufferedRandom, url: str, total: int | None
) -> None:
    _report(url, file.tell(), total)
    reported = time.monotonic()
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        if time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            _report(url, file.tell(), total)
    file.flush()


def _report(url: str, done: int, total: int | None) -> None:
    mib = f"{done // _MIB} of {total // _MIB}" if total else str(done // _MIB)
    _log.info("downloading %s: %s MiB", url, mib, extra={"event": "disk.downloading"})


def _sha256(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _failed(variable: str, disk: DiskValue, error: OSError | ValueError) -> MachineError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return MachineError(
        f"{variable}={disk.url} can't be downloaded: {reason}",
        f"check the URL, the container's network, and the room in {disk.path.parent}; the next "
        "start continues the download",
    )
