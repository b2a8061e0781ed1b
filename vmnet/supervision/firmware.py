"""Log that the firmware found nothing to boot.

SeaBIOS shows this only on a screen that few guests have, but writes its messages to a debug port,
too. OVMF shows it on the serial console, and only a debug build of it writes to the port. The
launch strategy connects the port to a ring buffer of QEMU, and the guard reads it in the first
minutes after the start and after each reset: a second suffices on an idle machine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FIRMWARE_LOG = "firmware"
"""QEMU's name of the ring buffer (a character device)."""

# The guest can write to the port as well. JSON needs 6 bytes for each control character, so more
# bytes at a time would look like a flood of events (vmnet.supervision.qmp).
READ = (
    b'{"execute": "ringbuf-read", "id": "firmware", '
    b'"arguments": {"device": "firmware", "size": 2048}}',
)
LOGGED = "the BIOS found nothing to boot; a disk for UEFI needs VMNET_FIRMWARE=uefi"
_FAILURES = {
    "No bootable device": LOGGED,  # SeaBIOS, src/boot.c
    "[Bds] Unable to boot!": "UEFI found nothing to boot",  # EDK II, BdsEntry.c
}
_INTERVAL_SECONDS, _WATCHED_SECONDS = 5.0, 300.0


class Firmware:
    """Decides when to read the firmware's messages, and examines them.

    :param now: in seconds, of any clock
    """

    def __init__(self, now: float) -> None:
        self.restart(now)

    def restart(self, now: float) -> None:
        """Note that the firmware starts."""
        self._read_at, self._until = now + _INTERVAL_SECONDS, now + _WATCHED_SECONDS

    def must_read(self, now: float) -> bool:
        """Return whether it is time to read the messages."""
        if not self._read_at <= now < self._until:
            return False
        self._read_at = now + _INTERVAL_SECONDS
        return True

    def is_answer(self, message: Mapping[str, object]) -> bool:
        """Return whether a message answers :data:`READ`. An error means that there is no buffer."""
        if message.get("id") != FIRMWARE_LOG:
            return False
        if "error" in message:
            self._until = 0.0
        return True

    def failure(self, message: Mapping[str, object]) -> str:
        """Return what to log if the answer shows that there was nothing to boot; else empty."""
        text = message.get("return")
        if isinstance(text, str):
            for mark, logged in _FAILURES.items():
                if mark in text:
                    self._until = 0.0
                    return logged
        return ""
