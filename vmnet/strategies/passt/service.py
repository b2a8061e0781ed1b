"""passt as a daemon for each interface."""

from __future__ import annotations

import logging
import pwd
import resource
from pathlib import Path

from vmnet.api import (
    IPAM,
    KEEP_PORTS,
    LOCALHOST,
    RUN_DIR,
    BridgeError,
    Daemon,
    Delivery,
    DeliveryError,
    Identity,
    Interface,
    PrivilegeError,
    Settings,
    Wiring,
    capabilities,
    engine,
    frozen,
    process,
    program,
)
from vmnet.strategies.passt import arguments, gaps, plan, ports, sysctls
from vmnet.strategies.passt.arguments import DNS_HOST, HOSTNAME, Link, Paths
from vmnet.strategies.passt.ports import Ports
from vmnet.strategies.ports import addressing

_log = logging.getLogger(__name__)
_OPTIONS = (HOSTNAME, DNS_HOST)
_SEEDS = "cloudinit"  # the strategy that carries more of the identity


@frozen
class Passt:
    """The installed passt.

    :param options: the options that it has, of those that older releases lack
    """

    path: Path
    options: frozenset[str]

    @property
    def forwards(self) -> bool:
        """Whether it can forward DNS queries to a resolver of its own choice."""
        return DNS_HOST in self.options

    @property
    def spares_loopback(self) -> bool:
        """Whether it drops the guest's frames to loopback addresses, as releases since 2024 do."""
        return DNS_HOST in self.options


def find() -> Passt:
    """Find passt.

    :raises BridgeError: it is not installed
    """
    path = process.find("passt")
    if path is None:
        raise BridgeError(
            "passt is not installed, which VMNET_BRIDGE=passt needs",
            "the image contains it; elsewhere `apt-get install passt`",
        )
    answer = process.ask((str(path), "--help"))
    words = set((answer.stdout + answer.stderr).replace(",", " ").split())
    return Passt(path, frozenset(words & set(_OPTIONS)))


def deliver(
    settings: Settings, identity: Identity, wiring: Wiring, wanted: Ports | None
) -> Delivery:
    """Deliver a passt for each interface as a daemon.

    :param wanted: the ports at which the guest can be reached; None for as many as possible
    :raises DeliveryError: passt cannot open so many sockets
    :raises PrivilegeError: passt may not bind one of the ports
    """
    passt = find()
    if not passt.spares_loopback:
        _log.warning(
            "this passt lets the guest connect to programs that listen on the container's loopback",
            extra={
                "event": "localhost.exposed",
                "hint": "install passt 2024-11 or later, as the image has",
            },
        )
    user, is_bound = _user(), settings[LOCALHOST] == "off" or len(wiring.ports) > 1
    daemons: list[Daemon] = []
    not_carried: list[str] = []
    for number, (interface, port) in enumerate(wiring.pairs(identity)):
        paths = Paths.below(settings[RUN_DIR], number)
        link = Link(
            mac=addressing.new_mac(interface.mac, plan.NAME),
            forwards=wiring.nameserver if interface.ipv4 else None,
            ports=_ports(settings, identity, interface, passt, wanted),
            listen=arguments.listen(interface, passt.options) if is_bound else "",
            serves=port.strategy_data != plan.STATIC,
            options=passt.options,
            user=user,
        )
        argv = (str(passt.path), *arguments.arguments(identity, interface, link, paths))
        words = (paths.folder, *user, *argv)
        program_argv = program.command("vmnet.strategies.passt.launcher", *words, light=True)
        daemons.append(Daemon(paths.folder.name, program_argv, paths.pidfile, paths.log))
        not_carried += gaps.of_identity(identity, interface, link, seeded=_SEEDS in settings[IPAM])
        not_carried += gaps.of_ports(identity, interface, link)
    return Delivery(
        plan.NAME, daemons=tuple(daemons), not_carried=tuple(dict.fromkeys(not_carried))
    )


def _ports(
    settings: Settings,
    identity: Identity,
    interface: Interface,
    passt: Passt,
    wanted: Ports | None,
) -> Ports:
    """Return the ports of an interface at which the guest can be reached."""
    files = _open_files(interface, passt)
    if wanted is None:
        chosen = ports.automatic(files, len(identity.interfaces))
    else:
        chosen = _fitting(wanted, files)
    kept = settings[KEEP_PORTS]
    chosen = ports.without(chosen, kept or ())
    taken = ports.occupied(chosen, identity.listening)
    if taken and not chosen.weak:
        raise DeliveryError(
            f"VMNET_PASST_PORTS contains {taken[0]}, on which a program of the container listens",
            "leave it out of the list, or stop the program",
        )
    return chosen


def _user() -> tuple[int, int]:
    """Return the user and group for passt: nobody, or root if it cannot change the user.

    Only certain groups may send pings (icmp(7)).
    """
    if not capabilities.can_run_as_another_user():
        return 0, 0
    nobody = pwd.getpwnam("nobody")
    lowest, highest = sysctls.ping_groups()
    is_allowed = lowest <= nobody.pw_gid <= highest or lowest > highest
    return nobody.pw_uid, nobody.pw_gid if is_allowed else lowest


def _open_files(interface: Interface, passt: Passt) -> int:
    """Return the limit of open files, halved if passt needs a socket for each family."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1 << 20 if limit == resource.RLIM_INFINITY else limit
    is_halved = interface.ipv4 and interface.ipv6 and DNS_HOST not in passt.options
    return files // 2 if is_halved else files


def _fitting(wanted: Ports, files: int) -> Ports:
    if wanted.count > ports.fitting(files):
        raise DeliveryError(
            f"VMNET_PASST_PORTS has {wanted.count} ports, and this container may open only {files} "
            "files, a quarter of which remain for connections",
            f"list fewer ports, or {engine.limit('--ulimit nofile=', wanted.count * 4 // 3 + 1)}",
        )
    privileged = min((first for first, _ in (*wanted.tcp, *wanted.udp)), default=ports.LAST)
    if not wanted.weak and privileged < sysctls.first_port():
        raise PrivilegeError(
            f"VMNET_PASST_PORTS: passt may not use port {privileged}, because ports below "
            f"{sysctls.first_port()} are privileged in this container",
            sysctls.allow_ports(),
        )
    return wanted
