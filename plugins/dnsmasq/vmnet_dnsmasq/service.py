"""The processes that serve the guest: their files, their command lines."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from attrs import evolve

from vmnet import process
from vmnet.delivery import Daemon, Delivery, File
from vmnet.errors import DeliveryError
from vmnet.identity import Identity
from vmnet.lifecycle import followed
from vmnet.settings import IPAM, RUN_DIR, Settings
from vmnet.wiring import Wiring
from vmnet_dnsmasq import config, refresh, uncarried

_log = logging.getLogger(__name__)
# Bytes of a file that dnsmasq writes. Its log has some 300 for each lease that it gives.
LARGEST_FILE = 1 << 20
# The strategy that writes the links to the guest's own hosts file, whether or not we lease, too.
_SEEDS = "cloudinit"


def deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """dnsmasq for IPv4 and DNS, and beside it our own responder for the rest: each where needed.

    :raises DeliveryError: dnsmasq, or what limits it, is not installed
    """
    service = config.Service.of(identity, wiring)
    made = Delivery(strategy="dnsmasq", not_carried=service.not_carried)
    if service.is_needed:
        made = _with_dnsmasq(made, service, settings, identity)
    if _needs_responder(identity, wiring):
        from vmnet_dnsmasq import helper

        responder = helper.deliver(settings, identity, wiring)
        made = evolve(
            made,
            files=made.files + responder.files,
            daemons=made.daemons + responder.daemons,
            not_carried=made.not_carried + responder.not_carried,
        )
    return made


def _find(program: str, package: str) -> str:
    path = process.find(program)
    if path is None:
        raise DeliveryError(
            f"{program} is not installed",
            f"`apt-get install {package}`, or set NO_DHCP=true where another system serves DHCP",
        )
    return str(path)


def _warn_if_closed(run_dir: Path) -> None:
    """dnsmasq reads its lists of names and servers as a user of its own, not as root."""
    for folder in (run_dir, *run_dir.parents):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            _log.warning(
                "VMNET_RUN_DIR=%s: dnsmasq, which is not root, can't enter %s, so the guest "
                "resolves no names",
                *(run_dir, folder),
                extra={"hint": f"`chmod o+x {folder}`, or name another folder, such as /run/vmnet"},
            )


def _needs_responder(identity: Identity, wiring: Wiring) -> bool:
    has_ipv6 = wiring.contain and any(one.ipv6 for one in identity.interfaces)
    return has_ipv6 or any(one.link_local for one in wiring.ports)


def _with_dnsmasq(
    made: Delivery, service: config.Service, settings: Settings, identity: Identity
) -> Delivery:
    paths = config.Paths.below(settings[RUN_DIR])
    if service.upstream is not None:
        _warn_if_closed(settings[RUN_DIR])
    program = _find("dnsmasq", "dnsmasq-base")
    # The guest sets the pace of dnsmasq's log. A write beyond the limit fails, and dnsmasq goes on:
    # it inherits that SIGXFSZ is ignored, as every child of a Python process does.
    limit = (_find("prlimit", "util-linux"), f"--fsize={LARGEST_FILE}")
    argv = (*limit, program, f"--conf-file={paths.config}")
    servers = config.render_servers(map(str, uncarried.reachable(identity.resolver.nameservers)))
    follows = followed.files(settings, identity)
    errand = refresh.command(
        settings[RUN_DIR],
        follows,
        served=service.upstream is not None,
        seeded=_SEEDS in settings[IPAM],
    )
    return evolve(
        made,
        files=(
            File(paths.config, config.render(service, paths).encode(), 0o644),
            File(paths.hosts, config.render_hosts(service.hosts).encode(), 0o644),
            File(paths.servers, servers.encode(), 0o644),
            # An earlier machine's lease would keep the address from this one, whose MAC may differ.
            File(paths.leases, b"", 0o644),
        ),
        daemons=(Daemon("dnsmasq", argv, paths.pidfile, paths.log, follows, errand),),
    )
