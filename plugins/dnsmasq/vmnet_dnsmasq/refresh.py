"""Follow /etc/hosts and /etc/resolv.conf: a program that runs when the engine has rewritten them.

An engine does so when a linked container comes back with another address, or a container joins a
network. The keeper runs the program (see :class:`vmnet.delivery.Daemon`). It writes what dnsmasq
reads anew on SIGHUP, and logs what has changed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from vmnet.lifecycle import errand, files, followed
from vmnet.lifecycle.followed import Names
from vmnet_dnsmasq import config, searched
from vmnet_dnsmasq.config import Paths
from vmnet_dnsmasq.uncarried import reachable

_SERVED, _SEEDED, _TOLD, _LISTED = "served", "seeded", "told", 3
_HINT = {"hint": "restart the container to hand the change over"}
_log = logging.getLogger(__name__)


def command(
    run_dir: Path, paths: Iterable[Path], *, served: bool, seeded: bool = False
) -> tuple[str, ...]:
    """The words that run this program.

    :param paths: of what is followed
    :param served: whether dnsmasq serves names at all
    :param seeded: whether the guest has the links in its own hosts file, from cloud-init's seed
    """
    mode = (_SEEDED if seeded else _SERVED) if served else _TOLD
    words = (str(run_dir), mode, *map(str, paths))
    return (sys.executable, "-I", "-m", __name__, *words)


def main(run_dir: str, mode: str, *paths: str) -> None:
    follows, made = tuple(map(Path, paths)), Paths.below(Path(run_dir))
    with errand.logged():
        refresh(made, followed.read(), follows, served=mode != _TOLD, seeded=mode == _SEEDED)


def refresh(
    paths: Paths, names: Names, follows: Sequence[Path], *, served: bool, seeded: bool = False
) -> None:
    """Write what has changed, and have dnsmasq read it.

    :raises StateError: the run directory can't be written
    """
    changes = {}
    if followed.HOSTS in follows:
        text = config.render_hosts(config.servable(names.hosts))
        if (before := _replace(paths.hosts, text)) is not None:
            changes[followed.HOSTS] = _difference(before, text)
    if followed.RESOLV_CONF in follows:
        text = config.render_servers(map(str, reachable(names.nameservers)))
        if _replace(paths.servers, text) is not None:
            changes[followed.RESOLV_CONF] = f"nameservers {_servers(names.nameservers, served)}"
    for path, change in changes.items():
        _report(f"{path} has changed: {change}", served, seeded and path == followed.HOSTS)
    if changes and served:
        _reload(paths.pidfile)


def _report(change: str, served: bool, outdated: bool) -> None:
    """Log a change, as a warning where the guest goes on with what it was told at the start.

    :param outdated: whether the guest's own hosts file, which it reads first, lacks the change
    """
    if not served:
        _log.warning("%s, but the guest asks the servers of its lease", change, extra=_HINT)
    elif outdated:
        _log.warning("%s, but the guest's own hosts file is the start's", change, extra=_HINT)
    else:
        _log.info("dnsmasq: %s", change)


def _servers(given: Sequence[IPv4Address | IPv6Address], served: bool) -> str:
    """The nameservers in words; where dnsmasq asks them, those that it can't are named as such."""
    asked = reachable(given) if served else given
    others = ", ".join(str(address) for address in given if address not in asked)
    servers = ", ".join(map(str, asked)) or "none"
    return f"{servers} (not {others}: to forward to it takes IPv4)" if others else servers


def _replace(path: Path, text: str) -> str | None:
    """Write a file; what it said before, None if that was the same."""
    before = path.read_text(encoding="utf-8")
    if before == text:
        return None
    files.write(path, text.encode(), 0o644)
    return before


def _difference(before: str, after: str) -> str:
    """The names that have other addresses, or have gone."""
    old, new = _by_name(before), _by_name(after)
    changed = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    said = [
        f"{name} is {' '.join(new[name])}" if name in new else f"{name} is gone"
        for name in changed[:_LISTED]
    ]
    more = len(changed) - _LISTED
    return "; ".join((*said, f"and {more} more") if more > 0 else said)


def _by_name(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.split()
        for name in filter(searched.is_given, names):
            found.setdefault(name, []).append(address)
    return found


def _reload(pidfile: Path) -> None:
    """Send SIGHUP; a dnsmasq that is just being started again reads the files by itself."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(pidfile.read_text())
        process = os.pidfd_open(pid)  # first: what is looked at then is what gets the signal
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "dnsmasq\n":
                signal.pidfd_send_signal(process, signal.SIGHUP)
        except PermissionError:  # a keeper that the guard has started holds no capability
            _log.warning("dnsmasq can't be told: no privilege is left for that", extra=_HINT)
        finally:
            os.close(process)


if __name__ == "__main__":
    main(*sys.argv[1:])
