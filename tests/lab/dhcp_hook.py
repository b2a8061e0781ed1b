"""Asking a real DHCP client: it runs until its script has a lease, which says all it learnt."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .command import Argument
from .namespace import Namespace
from .wait import until

# The first argument is udhcpc's event; other clients have theirs in $reason.
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
"""dhcpcd's state has fixed places: hide the machine's own. The mounts end with the program."""


@contextmanager
def hook() -> Iterator[tuple[Path, Path]]:
    """A script that saves what a client tells it, and the file it saves to; both in one folder."""
    with tempfile.TemporaryDirectory(prefix="vmt-dhcp-") as folder:
        # The client may have given up its privileges by the time it runs the script.
        Path(folder).chmod(0o777)
        script, result = Path(folder, "script"), Path(folder, "lease")
        script.write_text(_SCRIPT.replace("@", str(result)))
        script.chmod(0o755)
        yield script, result


def ask(
    where: Namespace, argv: tuple[Argument, ...], result: Path, timeout: float
) -> dict[str, str]:
    """Run a client until its script has a lease, then end it without giving the lease back."""
    with where.popen(*argv) as client:

        def answered() -> bool:
            if result.exists():
                return True
            client.require_running()
            return False

        until(answered, timeout, "a lease", detail=client.output)
    lines = (line.partition("=") for line in result.read_text().splitlines())
    return {name: value for name, _, value in lines}
