"""The files and command lines of the processes that serve the guest."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from vmnet.api import (
    BOOT,
    IPAM,
    RUN_DIR,
    Daemon,
    Delivery,
    DeliveryError,
    File,
    Identity,
    Settings,
    Wiring,
    capabilities,
    engine_files,
    process,
)
from vmnet_dnsmasq import account, boot_file, config, gaps, leases, refresh

_log = logging.getLogger(__name__)
# Bytes of a file that dnsmasq writes. Its log grows by about 300 for each lease.
LARGEST_FILE = 1 << 20
# The strategy that writes the links to the guest's own hosts file.
_SEEDS = "cloudinit"


def deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Deliver dnsmasq for IPv4 and DNS, and the responder for the rest, each if needed.

    :raises DeliveryError: dnsmasq or prlimit is not installed, or the guest boots from the network
        without a boot file
    """
    service = config.Service.of(identity, wiring, boot_file.of(settings))
    if service.leases and service.boot is None and "network" in settings[BOOT]:
        raise DeliveryError(
            f"VMNET_BOOT={settings.given[BOOT.name]}: dnsmasq does not know what the guest loads "
            "from the network",
            "set VMNET_BOOT_URL, such as tftp://192.0.2.1/boot.ipxe; or set NO_DHCP=true if the "
            "network's own DHCP server knows it",
        )
    delivery = Delivery(
        strategy="dnsmasq", not_carried=service.not_carried + boot_file.not_carried(settings)
    )
    if service.is_needed:
        delivery = _with_dnsmasq(delivery, service, settings, identity)
    if _needs_responder(identity, wiring):
        from vmnet_dnsmasq import responder_delivery

        responder = responder_delivery.deliver(settings, identity, wiring)
        delivery = evolve(
            delivery,
            files=delivery.files + responder.files,
            daemons=delivery.daemons + responder.daemons,
            not_carried=delivery.not_carried + responder.not_carried,
        )
    return delivery


def _find(program: str, package: str) -> str:
    path = process.find(program)
    if path is None:
        raise DeliveryError(
            f"{program} is not installed",
            f"`apt-get install {package}`, or set NO_DHCP=true if another system serves DHCP",
        )
    return str(path)


def _warn_if_closed(run_dir: Path) -> None:
    """Warn if dnsmasq, which drops root, cannot read its lists of names and servers."""
    for folder in (run_dir, *run_dir.parents):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            _log.warning(
                "VMNET_RUN_DIR=%s: dnsmasq does not run as root and can't enter %s, so the guest "
                "resolves no names",
                *(run_dir, folder),
                extra={
                    "event": "names.unavailable",
                    "hint": f"`chmod o+x {folder}`, or name another folder, such as /run/vmnet",
                },
            )


def _needs_responder(identity: Identity, wiring: Wiring) -> bool:
    if wiring.contain and any(interface.ipv6 for interface in identity.interfaces):
        return True
    has_spare = any(port.way_out for port in wiring.ports)
    if has_spare and not capabilities.has("NET_RAW"):  # a fixed address needs no probe at the start
        _log.warning(
            "no permission to watch for address conflicts of the bridge",
            extra={
                "event": "privilege.missing",
                "hint": "leave the container its NET_RAW capability",
            },
        )
        return False
    return has_spare


def _spare_option(service: config.Service, paths: config.Paths) -> Iterator[File]:
    if service.names_spare:
        content = config.spare_option(service.spare) if service.spare else ""
        yield File(paths.spare_option, content.encode(), 0o644)


def _with_dnsmasq(
    delivery: Delivery, service: config.Service, settings: Settings, identity: Identity
) -> Delivery:
    paths = config.Paths.below(settings[RUN_DIR])
    if service.upstream is not None:
        _warn_if_closed(settings[RUN_DIR])
    program = _find("dnsmasq", "dnsmasq-base")
    # The limit stops a guest from filling the disk with dnsmasq's log. A write beyond it fails, but
    # does not end dnsmasq, which ignores SIGXFSZ as every child of a Python process does.
    limit = (_find("prlimit", "util-linux"), f"--fsize={LARGEST_FILE}")
    argv = (*limit, program, f"--conf-file={paths.config}", *account.options())
    servers = config.render_servers(map(str, gaps.reachable(identity.resolver.nameservers)))
    follows = engine_files.files(settings, identity)
    refresh_command = refresh.command(
        settings[RUN_DIR],
        follows,
        served=service.upstream is not None,
        seeded=_SEEDS in settings[IPAM],
    )
    return evolve(
        delivery,
        files=(
            File(paths.config, config.render(service, paths).encode(), 0o644),
            File(paths.hosts, config.render_hosts(service.hosts).encode(), 0o644),
            File(paths.servers, servers.encode(), 0o644),
            *_spare_option(service, paths),
            File(paths.leases, leases.kept(paths, service.macs), 0o644),
        ),
        daemons=(
            Daemon(
                "dnsmasq",
                argv,
                paths.pidfile,
                paths.log,
                follows,
                refresh_command,
                capabilities=("NET_BIND_SERVICE",),
            ),
        ),
    )
