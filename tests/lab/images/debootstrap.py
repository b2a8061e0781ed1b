"""Make a root folder of Debian 13. Downloads are repeated if the mirror does not answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..command import run
from .packages import RELEASE

# debootstrap gives up when a download fails once. By default, wget waits for 15 minutes, and does
# not repeat a request that is refused or that a server can't answer now.
_WGETRC = """\
timeout = 60
tries = 10
retry_connrefused = on
retry_on_host_error = on
retry_on_http_error = 429,500,502,503,504
"""


def debootstrap(root: Path, *packages: str) -> None:
    """Install Debian's minimal system and packages in a folder."""
    include = (f"--include={','.join(packages)}",) if packages else ()
    with repeating() as environ:
        words = ("debootstrap", "--variant=minbase", *include, RELEASE, root)
        run(*words, env=environ, timeout=1200)
    root.chmod(0o755)


@contextmanager
def repeating() -> Iterator[Mapping[str, str]]:
    """Write a configuration for wget that is used in the environment, unless that has another."""
    with tempfile.NamedTemporaryFile("w", prefix="vmnet-wgetrc-") as file:
        file.write(_WGETRC)
        file.flush()
        yield {"WGETRC": file.name, **os.environ}
