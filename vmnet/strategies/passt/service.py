"""passt as a daemon, and what it cannot hand over."""

from __future__ import annotations

import logging
import pwd
import resource
from collections.abc import Iterator
from pathlib import Path

from vmnet.api import (
    IPAM,
    KEEP_PORTS,
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
    shown,
)
from vmnet.strategies.passt import arguments, plan, ports
from vmnet.strategies.passt.arguments import DNS_HOST, HOSTNAME, Link, Paths
from vmnet.strategies.passt.ports import Ports
from vmnet.strategies.ports import addressing

_log = logging.getLogger(__name__)
_IPV4 = Path("/proc/sys/net/ipv4")
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
    """Deliver passt as a daemon.

    :param wanted: the ports at which the guest can be reached; None for as many as possible
    :raises DeliveryError: passt cannot open so many sockets
    :raises PrivilegeError: passt may not bind one of the ports
    """
    ((interface, port),) = wiring.pairs(identity)
    passt, paths = find(), Paths.below(settings[RUN_DIR])
    if not passt.spares_loopback:
        _log.warning(
            "this passt lets the guest connect to programs that listen on the container's loopback",
            extra={"hint": "install passt 2024-11 or later, as the image has"},
        )
    user, kept = _user(), settings[KEEP_PORTS]
    link = Link(
        mac=addressing.new_mac(interface.mac, plan.NAME),
        forwards=wiring.nameserver,
        ports=ports.without(_fitting(wanted, _open_files(interface, passt)), kept or ()),
        serves=port.strategy_data != plan.STATIC,
        options=passt.options,
        user=user,
    )
    argv = (str(passt.path), *arguments.arguments(identity, interface, link, paths))
    words = (paths.folder, *user, *argv)
    return Delivery(
        plan.NAME,
        daemons=(
            Daemon(
                plan.NAME,
                program.command("vmnet.strategies.passt.launcher", *words, light=True),
                paths.pidfile,
                paths.log,
            ),
        ),
        not_carried=(
            *_gaps(identity, interface, link, seeded=_SEEDS in settings[IPAM]),
            *_port_gaps(link.ports),
        ),
    )


def _user() -> tuple[int, int]:
    """Return the user and group for passt: nobody, or root if it cannot change the user.

    Only certain groups may send pings (icmp(7)).
    """
    if not (capabilities.has("SETUID") and capabilities.has("SETGID")):
        return 0, 0
    nobody = pwd.getpwnam("nobody")
    lowest, highest = _ping_groups()
    is_allowed = lowest <= nobody.pw_gid <= highest or lowest > highest
    return nobody.pw_uid, nobody.pw_gid if is_allowed else lowest


def _ping_groups() -> tuple[int, int]:
    lowest, highest = map(int, (_IPV4 / "ping_group_range").read_text().split())
    return lowest, highest


def _first_port() -> int:
    """Return the first port that needs no privilege: passt has none."""
    return int((_IPV4 / "ip_unprivileged_port_start").read_text())


def _open_files(interface: Interface, passt: Passt) -> int:
    """Return the limit of open files, halved if passt needs a socket for each family."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1 << 20 if limit == resource.RLIM_INFINITY else limit
    is_halved = interface.ipv4 and interface.ipv6 and DNS_HOST not in passt.options
    return files // 2 if is_halved else files


def _fitting(wanted: Ports | None, files: int) -> Ports:
    if wanted is None:
        return ports.automatic(files)
    if wanted.count > ports.fitting(files):
        raise DeliveryError(
            f"VMNET_PASST_PORTS has {wanted.count} ports, and this container may open only {files} "
            "files, a quarter of which remain for connections",
            f"list fewer ports, or {engine.limit('--ulimit nofile=', wanted.count * 4 // 3 + 1)}",
        )
    privileged = min((first for first, _ in (*wanted.tcp, *wanted.udp)), default=ports.LAST)
    if not wanted.weak and privileged < _first_port():
        raise PrivilegeError(
            f"VMNET_PASST_PORTS: passt may not use port {privileged}, because ports below "
            f"{_first_port()} are privileged in this container",
            _unprivileged_ports(),
        )
    return wanted


def _unprivileged_ports() -> str:
    sysctl = "net.ipv4.ip_unprivileged_port_start"
    if engine.name() == "kubernetes":
        return (
            f'set it in the pod: `securityContext: {{sysctls: [{{name: {sysctl}, value: "0"}}]}}`'
        )
    return f"run the container with `--sysctl {sysctl}=0`"


def _gaps(identity: Identity, interface: Interface, link: Link, *, seeded: bool) -> Iterator[str]:
    """Yield what does not reach the guest.

    :param seeded: whether another strategy hands over the names as well
    """
    name = interface.name
    yield "protocols other than TCP, UDP and outgoing ping; multicast and broadcast"
    yield f"pings from the network, which the container answers, and frames of {name} itself"
    if _ping_groups()[0] > _ping_groups()[1]:
        yield "outgoing ping: no group may send it (sysctl net.ipv4.ping_group_range)"
    for family in (interface.ipv4, interface.ipv6):
        if family[1:]:
            yield f"further addresses of {name}: {', '.join(map(str, family[1:]))}"
    if interface.ipv4 and interface.default_route(4) is None:
        yield f"the lack of a default route: the guest gets one through {name}"
    resolver = identity.resolver
    if resolver.is_local and link.forwards is None:
        yield "the container's own resolver: this passt cannot forward to it (set VMNET_DNS)"
    for version in (4, 6):
        servers = [s for s in resolver.nameservers if s.version == version and not s.is_loopback]
        if more := servers[arguments.MAX_NAMESERVERS :]:
            yield f"nameservers {', '.join(map(str, more))}: passt hands over three"
    if seeded:
        return
    if more_domains := resolver.search[arguments.MAX_SEARCH :]:
        yield f"search domains {' '.join(map(shown, more_domains))}: passt hands over six"
    if identity.resolver_options:
        yield f"resolv.conf options: {' '.join(map(shown, identity.resolver_options))}"
    if identity.hosts:
        names = ", ".join(shown(host.names[0]) for host in identity.hosts)
        yield f"names from /etc/hosts ({names}): use VMNET_IPAM=cloudinit"
    if identity.ntp:
        yield "time servers: use VMNET_IPAM=cloudinit"
    if HOSTNAME not in link.options:
        yield "host name: this passt cannot hand it over"


def _port_gaps(chosen: Ports) -> Iterator[str]:
    last = chosen.tcp[-1][1] if chosen.tcp else 0
    if chosen.weak and last < ports.LAST:
        yield f"connections to ports above {last}: list the guest's ports in VMNET_PASST_PORTS"
    if chosen.weak and _first_port() > 1:
        yield f"connections to ports below {_first_port()}: {_unprivileged_ports()}"
