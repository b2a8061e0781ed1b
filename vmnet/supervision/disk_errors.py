"""Log the errors of the VM's disks, and resume the guest after the host's disk was full.

QEMU stops the guest when a write finds no room (``werror=enospc``, its default), and repeats the
write when the guest is resumed. It passes other errors on to the guest.
"""

from __future__ import annotations

from . import intended_pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .log import Log

QUERY = (b'{"execute": "query-status", "id": "status"}',)
RESUME = (b'{"execute": "cont"}',)
RETRY_SECONDS = 5.0
_MAX_LINES = 100  # the guest can cause errors without limit


class DiskErrors:
    """Follows QEMU's events BLOCK_IO_ERROR and RESUME, and its answers to :data:`QUERY`.

    Only a guest that QEMU stopped for lack of room is resumed, and no guest that is being saved.
    """

    def __init__(self, log: Log, run_dir: str) -> None:
        self._log, self._run_dir = log, run_dir
        self._is_stopped = self._is_logged = False
        self._check_at = 0.0
        self._lines_left = _MAX_LINES

    def report(self, data: Mapping[str, object], now: float) -> None:
        """Note an error.

        :param data: of the event BLOCK_IO_ERROR
        :param now: in seconds, of any clock
        """
        disk = data.get("device") or data.get("node-name")
        what = f"{disk}: {data.get('operation')} failed: {data.get('reason')}"
        if data.get("action") != "stop":
            self._write(f"{what}; the guest was informed", event="disk.failed")
        elif data.get("nospace"):
            full = f"{disk}: the host's disk is full"
            self._stopped(f"{full}: the guest is stopped until there is room", now)
        else:
            self._is_stopped = self._is_logged = False
            text = f"{what}; QEMU stopped the guest, as its option werror or rerror requires"
            self._write(text, event="disk.failed")

    def is_answer(self, message: Mapping[str, object], now: float) -> bool:
        """Return whether a message answers :data:`QUERY`, and note the guest's state.

        The guard may have been without a connection when QEMU stopped or resumed the guest.
        """
        answer = message.get("return")
        if message.get("id") != "status" or not isinstance(answer, dict):
            return False
        if answer.get("status") == "io-error":
            text = "an error of a disk stopped the guest, probably because the host's disk is full"
            self._stopped(f"{text}: the guest is stopped until there is room", now)
        elif self._is_stopped:
            self.resumed(now)
        return True

    def _stopped(self, text: str, now: float) -> None:
        self._is_stopped, self._check_at = True, now + RETRY_SECONDS
        if not self._is_logged:
            self._is_logged = True
            self._write(text, event="disk.full")

    def resumed(self, now: float) -> None:
        """Note that the guest was resumed, by the guard or another client."""
        self._is_stopped, self._check_at = False, now + RETRY_SECONDS

    def must_resume(self, now: float) -> bool:
        """Return whether it is time to resume the guest. QEMU stops it again if there is no room.

        Log when the guest has run for some time after it was resumed.
        """
        if not self._is_logged or now < self._check_at:
            return False
        if not self._is_stopped:
            self._is_logged = False
            text = "the host's disk has room again: the guest runs"
            self._write(text, event="disk.has_room", is_error=False)
            return False
        self._check_at = now + RETRY_SECONDS
        return not intended_pause.is_intended(self._run_dir)

    def _write(self, text: str, *, event: str, is_error: bool = True) -> None:
        self._lines_left -= 1
        if self._lines_left > 0:
            (self._log.error if is_error else self._log.info)(text, event=event)
        elif self._lines_left == 0:
            text = f"{text}; further errors of the disks are not logged"
            self._log.warning(text, event=event)
