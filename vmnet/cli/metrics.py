"""``vmnet metrics``: print the metrics of the running VM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmnet.errors import UsageError
from vmnet.terminal.options import Parser


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser(
        "metrics",
        "Print the metrics of the running VM in the text format OpenMetrics, once. Without a VM, "
        "vmnet_up is 0. The exit status is 0 in both cases.",
        json=False,
    )
    parser.parse_args(arguments)
    try:
        from vmnet.running.metrics import page
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise UsageError(
            "`vmnet metrics` needs the Python package prometheus-client",
            "`pip install 'vmnet-entrypoint[metrics]'`; the image has it",
        ) from None
    print(page.text(environ), end="")
    return 0
