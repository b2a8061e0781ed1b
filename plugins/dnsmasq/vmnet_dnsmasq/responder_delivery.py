"""Deliver the responder, which does what dnsmasq cannot: see :mod:`vmnet_dnsmasq.responder`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from attrs import asdict, frozen

from vmnet.api import (
    LOG,
    RUN_DIR,
    Daemon,
    Delivery,
    File,
    Identity,
    Settings,
    Wiring,
    capabilities,
    process,
    program,
)
from vmnet_dnsmasq import ipv6, ipv6_gaps
from vmnet_dnsmasq.config import Paths


@frozen
class BridgeAddress:
    """A bridge's spare address of the subnet, which the bridge gives up if a machine claims it.

    Next to a redirected NIC, another device takes the bridge's place.

    :param mac: the bridge's MAC
    :param guests_end: a device that has the address as well, for the guest alone; empty without
    :param tap: the guest's tap, which exists as long as the VM
    :param uplink: the device with the carrier through which the bridge reaches other machines
    :param addresses: the addresses that the bridge may have, in the order to try them
    :param prefix: the prefix length of the addresses
    :param gateway: the gateway of the bridge's default route; empty without such a route
    :param forwards: whether the guest's DNS forwarder uses the address
    :param option_file: the file that names the address to dnsmasq, see
        :func:`vmnet_dnsmasq.config.spare_option`; empty if no lease names it
    :param stable: the bridge's link-local address, which the file contains while the bridge has no
        other
    """

    bridge: str
    mac: str
    guests_end: str
    tap: str
    uplink: str
    addresses: tuple[str, ...]
    prefix: int
    gateway: str
    forwards: bool
    option_file: str
    stable: str


@frozen
class Config:
    """The responder's configuration file.

    :param log: the file that receives its standard error, such as a traceback
    :param log_form: text or json, the form of the container's log
    """

    pidfile: str
    log: str
    log_form: str
    nics: tuple[ipv6.Ipv6Nic, ...]
    bridge_addresses: tuple[BridgeAddress, ...]


def deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Deliver the responder and its configuration."""
    nics = ipv6.nics(identity, wiring) if wiring.contain else ()
    asks_directly = wiring.nameserver is None
    run_dir = settings[RUN_DIR]
    path, pidfile, log = (run_dir / f"responder.{suffix}" for suffix in ("json", "pid", "log"))
    config = Config(
        pidfile=str(pidfile),
        log=str(log),
        log_form=settings[LOG],
        nics=nics,
        bridge_addresses=tuple(_bridge_addresses(wiring, run_dir)),
    )
    content = json.dumps(asdict(config), indent=2) + "\n"
    argv = program.command("vmnet_dnsmasq.responder.daemon", path, light=True)
    if config.bridge_addresses:
        argv = (*_limit(), *argv)
    return Delivery(
        strategy="dnsmasq",
        files=(File(path, content.encode(), 0o644),),
        daemons=(
            Daemon(
                *("the responder", argv, pidfile, log),
                capabilities=("NET_RAW",) if nics else (),
                late=not nics,
            ),
        ),
        not_carried=tuple(_gaps(identity, asks_directly)) if nics else (),
    )


def _gaps(identity: Identity, asks_directly: bool) -> Iterator[str]:
    return ipv6_gaps.gaps(identity, asks_directly, capabilities.has("NET_RAW"))


def _limit() -> tuple[str, ...]:
    """Return the start of a command line that limits root's capabilities, if that is possible.

    A responder that may have to change the bridge's address can become root again. It needs
    NET_ADMIN for the change, NET_RAW for its sockets, and SETUID and SETGID to set root aside.
    """
    setpriv = process.find("setpriv")
    if setpriv is None or not capabilities.has("SETPCAP"):
        return ()
    return (str(setpriv), "--bounding-set=-all,+net_admin,+net_raw,+setuid,+setgid")


def _bridge_addresses(wiring: Wiring, run_dir: Path) -> Iterator[BridgeAddress]:
    for port in wiring.ports:
        own, local = port.way_out, port.local
        if own is not None and local is not None and port.tap is not None:
            names_it = wiring.contain and wiring.forwards(port) and bool(local.candidates)
            yield BridgeAddress(
                bridge=own.device,
                mac=own.mac,
                guests_end="" if own is local else local.device,
                tap=port.tap.name,
                uplink=port.uplink if own is local else own.device,
                addresses=tuple(str(candidate.ip) for candidate in own.candidates),
                prefix=own.candidates[0].network.prefixlen,
                gateway=str(own.gateway) if own.gateway else "",
                forwards=wiring.forwards(port),
                option_file=str(Paths.below(run_dir).spare_option) if names_it else "",
                stable=str((local.link_local or local.address).ip),
            )
