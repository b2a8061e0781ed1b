"""The dnsmasq process: its files, its command line."""

from __future__ import annotations

from pathlib import Path

from vmnet import process
from vmnet.delivery import Daemon, Delivery, File
from vmnet.errors import DeliveryError
from vmnet.identity import Identity
from vmnet.wiring import Wiring
from vmnet_dnsmasq import config


def deliver(run_dir: Path, identity: Identity, wiring: Wiring) -> Delivery:
    """Its configuration, its hosts file and the daemon itself.

    :raises DeliveryError: dnsmasq is not installed
    """
    program = process.find("dnsmasq")
    if program is None:
        raise DeliveryError(
            "dnsmasq is not installed",
            "`apt-get install dnsmasq-base`, or set NO_DHCP=true where another system serves DHCP",
        )
    paths = config.Paths.below(run_dir)
    service = config.Service.of(identity, wiring)
    argv = (str(program), f"--conf-file={paths.config}")
    return Delivery(
        strategy="dnsmasq",
        files=(
            File(paths.config, config.render(service, paths).encode(), 0o644),
            File(paths.hosts, config.render_hosts(service).encode(), 0o644),
        ),
        daemons=(Daemon("dnsmasq", argv, paths.pidfile, paths.log),),
        not_carried=service.not_carried,
    )
