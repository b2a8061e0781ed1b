"""Make the image of the container that keeps a pod's namespaces open: busybox, which sleeps."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..command import run
from ..engines.docker import Engine

_BUSYBOX = Path("/bin/busybox")  # Debian's busybox-static
_SLEEP = 'ENTRYPOINT ["/bin/busybox", "tail", "-f", "/dev/null"]'


def make(engine: Engine, tag: str) -> None:
    """Make the image in a Docker engine."""
    with tempfile.TemporaryDirectory(prefix="vmnet-pause-") as folder:
        layer = Path(folder, "layer.tar")
        run("tar", "-C", "/", "-cf", layer, str(_BUSYBOX.relative_to("/")))
        engine.docker("import", "--change", _SLEEP, layer, tag)


def save(engine: Engine, tag: str, file: Path) -> None:
    """Make the image with a Docker engine, and write it to a file of ``docker save``."""
    make(engine, tag)
    engine.docker("save", "-o", file, tag)
    engine.docker("rmi", tag)
