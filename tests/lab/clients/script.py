"""Run a real DHCP client until it passes a lease to its script."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..command import Argument
from ..net.namespace import Namespace
from ..wait import until

# udhcpc passes the event as first argument, other clients in $reason.
_SCRIPT = """#!/bin/sh
case "${1:-$reason}" in
bound|BOUND|BOUND6|renew|RENEW|REBIND|REBOOT) env > @.new && mv @.new @ ;;
esac
"""


HIDE_DHCPCD = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t tmpfs vmt /run && mount -t tmpfs vmt /var/lib/dhcpcd && exec "$@"',
    "sh",
)
"""Hide the machine's dhcpcd state, whose paths are fixed. The mounts end with the program."""


@contextmanager
def hook() -> Iterator[tuple[Path, Path]]:
    """Make a script that saves its environment, and return its path and that of the saved file.

    Both are in the same folder.
    """
    with tempfile.TemporaryDirectory(prefix="vmt-dhcp-") as folder:
        # The client may have dropped its privileges before it runs the script.
        Path(folder).chmod(0o777)
        script, result = Path(folder, "script"), Path(folder, "lease")
        script.write_text(_SCRIPT.replace("@", str(result)))
        script.chmod(0o755)
        yield script, result


def ask(
    where: Namespace, argv: tuple[Argument, ...], result: Path, timeout: float
) -> dict[str, str]:
    """Run a client until its script has saved a lease, and return the script's environment.

    The client ends without releasing the lease.
    """
    with where.popen(*argv) as client:

        def saved() -> bool:
            if result.exists():
                return True
            client.require_running()
            return False

        until(saved, timeout, "a lease", detail=client.output)
    lines = (line.partition("=") for line in result.read_text().splitlines())
    return {name: value for name, _, value in lines}
