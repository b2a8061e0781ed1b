"""The program that updates dnsmasq after the engine has rewritten /etc/hosts or /etc/resolv.conf.

An engine rewrites them when a linked container returns with another address, or a container joins a
network. The keeper runs the program (see :class:`vmnet.model.delivery.Daemon`). It writes the
files that dnsmasq reads again on SIGHUP, and logs the changes.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from vmnet.api import engine_files, files, program, program_log
from vmnet_dnsmasq import config, dns_names
from vmnet_dnsmasq.config import Paths
from vmnet_dnsmasq.gaps import IPV4_ONLY, reachable

_SERVED, _SEEDED, _LEASED = "served", "seeded", "leased"
_LISTED = 3  # changed names in a line of the log
_HINT = {"hint": "restart the container to pass the change to the guest"}
_log = logging.getLogger(__name__)


def command(
    run_dir: Path, paths: Iterable[Path], *, served: bool, seeded: bool = False
) -> tuple[str, ...]:
    """Return the command line of this program.

    :param paths: the files that the keeper follows
    :param served: whether dnsmasq serves DNS
    :param seeded: whether cloud-init's seed writes the links to the guest's own hosts file
    """
    mode = (_SEEDED if seeded else _SERVED) if served else _LEASED
    return program.command(__name__, run_dir, mode, *paths)


def main(run_dir: str, mode: str, *paths: str) -> None:
    written, follows = Paths.below(Path(run_dir)), tuple(map(Path, paths))
    with program_log.logged():
        refresh(
            written, engine_files.read(), follows, served=mode != _LEASED, seeded=mode == _SEEDED
        )


def refresh(
    paths: Paths,
    names: engine_files.Names,
    follows: Sequence[Path],
    *,
    served: bool,
    seeded: bool = False,
) -> None:
    """Write the changed files, and make dnsmasq read them.

    :raises StateError: the run directory can't be written
    """
    changes = {}
    if engine_files.HOSTS in follows:
        text = config.render_hosts(config.servable(names.hosts))
        if (before := _replace(paths.hosts, text)) is not None:
            changes[engine_files.HOSTS] = _difference(before, text)
    if engine_files.RESOLV_CONF in follows:
        text = config.render_servers(map(str, reachable(names.nameservers)))
        if _replace(paths.servers, text) is not None:
            changes[engine_files.RESOLV_CONF] = f"nameservers {_servers(names.nameservers, served)}"
    for path, change in changes.items():
        _report(f"{path} has changed: {change}", served, seeded and path == engine_files.HOSTS)
    if changes and served:
        _reload(paths.pidfile)


def _report(change: str, served: bool, outdated: bool) -> None:
    """Log a change, as a warning if the guest does not see it.

    :param outdated: whether the guest's own hosts file, which it reads first, lacks the change
    """
    if not served:
        _log.warning(
            "%s, but the guest asks the nameservers of its lease",
            change,
            extra=_HINT | {"event": "names.stale"},
        )
    elif outdated:
        _log.warning(
            "%s, but the guest's own hosts file does not change",
            change,
            extra=_HINT | {"event": "names.stale"},
        )
    else:
        _log.info("dnsmasq: %s", change, extra={"event": "names.changed"})


def _servers(nameservers: Sequence[IPv4Address | IPv6Address], served: bool) -> str:
    """List the nameservers; if dnsmasq forwards to them, mark those that it cannot reach."""
    asked = reachable(nameservers) if served else nameservers
    unreachable = ", ".join(str(address) for address in nameservers if address not in asked)
    servers = ", ".join(map(str, asked)) or "none"
    return f"{servers} (not {unreachable}: {IPV4_ONLY})" if unreachable else servers


def _replace(path: Path, text: str) -> str | None:
    """Write a file if its content changes; return the old content, None if nothing changed."""
    before = path.read_text(encoding="utf-8")
    if before == text:
        return None
    files.write(path, text.encode(), 0o644)
    return before


def _difference(before: str, after: str) -> str:
    """List the names whose addresses have changed, or that are gone."""
    old, new = _by_name(before), _by_name(after)
    changed = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    listed = [
        f"{name} is {' '.join(new[name])}" if name in new else f"{name} is gone"
        for name in changed[:_LISTED]
    ]
    more = len(changed) - _LISTED
    return "; ".join((*listed, f"and {more} more") if more > 0 else listed)


def _by_name(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.split()
        for name in filter(dns_names.is_original, names):
            found.setdefault(name, []).append(address)
    return found


def _reload(pidfile: Path) -> None:
    """Send SIGHUP to dnsmasq. If it is not running, it reads the files when it starts again."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(pidfile.read_text())
        process = os.pidfd_open(pid)  # first, so that the checked process gets the signal
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "dnsmasq\n":
                signal.pidfd_send_signal(process, signal.SIGHUP)
        except PermissionError:  # a keeper that the guard has started has no capabilities
            _log.warning(
                "dnsmasq cannot be reloaded: no privilege to signal it",
                extra=_HINT | {"event": "names.stale"},
            )
        finally:
            os.close(process)
