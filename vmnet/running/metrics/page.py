"""The text of the metrics, for `vmnet metrics` and the exporter."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from vmnet import pipeline
from vmnet.running.metrics import exposition, readings


def text(environ: Mapping[str, str]) -> str:
    """Return the current metrics of the VM in this container.

    :raises vmnet.errors.VmnetError: a setting is wrong, or the record of the start can't be read
    """
    return exposition.text(readings.read(pipeline.select(environ)))


def main() -> None:
    """Print the metrics: the program that the exporter runs."""
    sys.stdout.write(text(os.environ))
