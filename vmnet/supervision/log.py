"""The container's log, as programs write it that run as long as the VM."""

from __future__ import annotations

import os
import select
import time


class Log:
    """Writes to the container's log, in the format of :mod:`vmnet.log`.

    If nothing reads the log, a line that would block is dropped, so that the guard can still press
    the power button.

    :param form: text or json
    :param name: the process that each line names; empty for none
    :param stream: the log's descriptor
    """

    def __init__(self, form: str, name: str = "", stream: int = 2) -> None:
        self._form, self._prefix, self._stream = form, f"{name}: " if name else "", stream

    def info(self, text: str, *, event: str = "message") -> None:
        """Write a line.

        :param event: a name of :mod:`vmnet.events`, for programs that read JSON
        """
        self._write("info", text, "", event)

    def warning(self, text: str, hint: str = "", *, event: str = "message") -> None:
        self._write("warning", text, hint, event)

    def error(self, text: str, hint: str = "", *, event: str = "message") -> None:
        self._write("error", text, hint, event)

    def _write(self, level: str, text: str, hint: str, event: str) -> None:
        text = f"{self._prefix}{text}"
        if self._form == "json":
            import json

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = {"time": now, "level": level, "event": event, "message": text}
            lines = json.dumps(entry | ({"hint": hint} if hint else {}))
        else:
            mark = "" if level == "info" else f"{level}: "
            lines = f"vmnet: {mark}{text}" + (f"\nvmnet: hint: {hint}" if hint else "")
        poll = select.poll()
        poll.register(self._stream, select.POLLOUT)
        try:
            if poll.poll(0):
                os.write(self._stream, f"{lines}\n".encode())
        except OSError:
            return
