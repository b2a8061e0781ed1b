"""The container's log, in the format of :mod:`vmnet.log`."""

from __future__ import annotations

import os
import time


class Log:
    """The container's log.

    :param stream: its descriptor
    :param is_json: whether to write JSON objects
    """

    def __init__(self, stream: int, is_json: bool) -> None:
        self._stream, self._is_json = stream, is_json

    def inform(self, text: str) -> None:
        self._write("info", text, "")

    def warn(self, text: str, hint: str) -> None:
        self._write("warning", text, hint)

    def _write(self, level: str, text: str, hint: str) -> None:
        if self._is_json:
            import json  # only here: it takes half a MiB

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = {"time": now, "level": level, "message": text}
            lines = json.dumps({**entry, "hint": hint} if hint else entry)
        else:
            mark = "" if level == "info" else f"{level}: "
            lines = f"vmnet: {mark}{text}" + (f"\nvmnet: hint: {hint}" if hint else "")
        try:
            os.write(self._stream, f"{lines}\n".encode())
        except OSError:
            return  # the log has no reader any more, which must not end the service
