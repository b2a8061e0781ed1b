"""The container's log, in the form of :mod:`vmnet.log`."""

from __future__ import annotations

import os
import time


class Log:
    """:param stream: its descriptor
    :param is_json: whether it is for programs
    """

    def __init__(self, stream: int, is_json: bool) -> None:
        self._stream, self._is_json = stream, is_json

    def inform(self, text: str) -> None:
        self._say("info", text, "")

    def warn(self, text: str, hint: str) -> None:
        self._say("warning", text, hint)

    def _say(self, level: str, text: str, hint: str) -> None:
        if self._is_json:
            import json  # not before: it takes half a MiB

            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            entry = {"time": now, "level": level, "message": text}
            lines = json.dumps({**entry, "hint": hint} if hint else entry)
        else:
            mark = "" if level == "info" else f"{level}: "
            lines = f"vmnet: {mark}{text}" + (f"\nvmnet: hint: {hint}" if hint else "")
        try:
            os.write(self._stream, f"{lines}\n".encode())
        except OSError:
            return  # nobody reads it any more, which must not end the service
