"""A log of the programs that run as long as the VM, whose lines pytest captures."""

from __future__ import annotations

import logging

from vmnet.supervision.log import Log


class CapturedLog(Log):
    def _write(self, level: str, text: str, hint: str, event: str) -> None:
        getattr(logging.getLogger("guard"), level)(text)
