"""What runs beside dnsmasq for what it can't do, where there is any: :mod:`.responder`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from attrs import asdict, frozen

from vmnet.delivery import Daemon, Delivery, File
from vmnet.identity import Identity
from vmnet.settings import LOG, RUN_DIR, Settings
from vmnet.wiring import Wiring
from vmnet_dnsmasq import ipv6

_PROGRAM = Path(__file__).with_name("responder")


@frozen
class Own:
    """An address that a bridge has taken from the subnet, to be given up where somebody claims it.

    :param mac: the bridge's
    :param tap: which ends with the machine
    :param addresses: the one that it has, and those that may take its place
    :param prefix: their length
    :param gateway: of the bridge's default route; empty where it has none
    :param forwards: whether the guest's names are forwarded at the address
    """

    bridge: str
    mac: str
    tap: str
    addresses: tuple[str, ...]
    prefix: int
    gateway: str
    forwards: bool


@frozen
class Config:
    """The responder's configuration file.

    :param log: where it says what ended it before its time
    :param is_json: whether the container's log is for programs
    """

    pidfile: str
    log: str
    is_json: bool
    nics: tuple[ipv6.Nic, ...]
    own: tuple[Own, ...]


def deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """The responder and its configuration."""
    nics = ipv6.nics(identity, wiring) if wiring.contain else ()
    asks_itself = wiring.nameserver is None
    run_dir = settings[RUN_DIR]
    path, pidfile, log = (run_dir / f"responder.{suffix}" for suffix in ("json", "pid", "log"))
    config = Config(str(pidfile), str(log), settings[LOG] == "json", nics, tuple(_own(wiring)))
    content = json.dumps(asdict(config), indent=2) + "\n"
    # Without site-packages (-S) and the environment (-I): it needs neither, see bench/memory.
    argv = (sys.executable, "-I", "-S", str(_PROGRAM), str(path))
    return Delivery(
        strategy="dnsmasq",
        files=(File(path, content.encode(), 0o644),),
        daemons=(Daemon("the responder", argv, pidfile, log),),
        not_carried=tuple(ipv6.uncarried(identity, asks_itself)) if nics else (),
    )


def _own(wiring: Wiring) -> Iterator[Own]:
    for port in wiring.ports:
        if port.link_local is not None:
            address = port.bridge_address
            yield Own(
                bridge=port.bridge,
                mac=port.bridge_mac,
                tap=port.tap,
                addresses=tuple(str(one.ip) for one in (address, *port.spares)),
                prefix=address.network.prefixlen,
                gateway=str(port.gateway) if port.gateway else "",
                forwards=wiring.nameserver == address.ip,
            )
