"""The container's log, as the guard and the keeper write it."""

from __future__ import annotations

import os
import select
import time


class Log:
    """Writes to the container's log, in the format of :mod:`vmnet.log`.

    If nothing reads the log, a line that would block is dropped, so that the guard can still press
    the power button.

    :param form: text or json
    :param name: the process that each line names
    """

    def __init__(self, form: str, name: str) -> None:
        self._form, self._name = form, name

    def info(self, text: str) -> None:
        self._write("info", text)

    def warning(self, text: str) -> None:
        self._write("warning", text)

    def error(self, text: str, hint: str = "") -> None:
        self._write("error", text, hint)

    def _write(self, level: str, text: str, hint: str = "") -> None:
        text = f"{self._name}: {text}"
        if self._form == "json":
            import json

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = {"time": now, "level": level, "message": text}
            lines = json.dumps(entry | ({"hint": hint} if hint else {}))
        else:
            mark = "" if level == "info" else f"{level}: "
            lines = f"vmnet: {mark}{text}" + (f"\nvmnet: hint: {hint}" if hint else "")
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        try:
            if poll.poll(0):
                os.write(2, f"{lines}\n".encode())
        except OSError:
            return
