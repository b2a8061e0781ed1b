"""Plan the exporter of metrics: where it listens, and the daemon."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from vmnet import program
from vmnet.errors import DeliveryError, SettingsError
from vmnet.model.delivery import Daemon
from vmnet.model.identity import Identity, Interface
from vmnet.model.wiring import Bridge, Port, Wiring
from vmnet.settings.core import LOG, METRICS, RUN_DIR
from vmnet.settings.table import Settings
from vmnet.supervision import exporter

# capabilities(7): SETGID and SETUID to change to an unprivileged user, NET_BIND_SERVICE for a low
# port, NET_RAW to ask whether the guest answers.
_CAPABILITIES = "6,7,10,13"


def require(settings: Settings, identity: Identity) -> None:
    """Check what can be known of VMNET_METRICS before the network is planned.

    :raises SettingsError: the exporter can't listen there
    :raises DeliveryError: the library for the metrics is missing
    """
    endpoint = settings[METRICS]
    if endpoint is None:
        return
    from importlib.util import find_spec  # a start without metrics does not need it

    if find_spec("prometheus_client") is None:
        raise DeliveryError(
            "VMNET_METRICS needs the Python package prometheus-client",
            "`pip install 'vmnet-entrypoint[metrics]'`; the image has it",
        )
    if endpoint.is_loopback:
        _require_unbound(settings, str(endpoint.address), endpoint.port)
        return
    _require_free(settings, identity, endpoint.port)
    own = (address.ip for interface in identity.interfaces for address in interface.addresses)
    if endpoint.address not in (None, *own):
        raise _unknown(settings)


def plan(settings: Settings, identity: Identity, wiring: Wiring) -> Daemon | None:
    """Return the daemon that serves the metrics; None without VMNET_METRICS.

    :raises SettingsError: the container serves no port of the address in VMNET_METRICS
    """
    endpoint = settings[METRICS]
    if endpoint is None:
        return None
    if endpoint.is_loopback:
        addresses: tuple[str, ...] = (str(endpoint.address),)
    else:
        addresses = tuple(
            own
            for interface, port in wiring.pairs(identity)
            for guest, own in _places(interface, port)
            if endpoint.address in (None, guest)
        )
    if not addresses:
        raise _unknown(settings)
    pidfile = settings[RUN_DIR] / exporter.PIDFILE
    printing = program.command("vmnet.running.metrics.page")
    answering = program.command("vmnet.supervision.exporter_http", light=True)
    words = exporter.arguments(
        pidfile, settings[LOG], endpoint.port, addresses, answering, printing
    )
    serving = program.command(exporter.__name__, *words, light=True)
    confined = program.command(
        "vmnet.supervision.unprivileged", _CAPABILITIES, *serving, light=True
    )
    return Daemon(exporter.NAME, confined, pidfile)


def _places(interface: Interface, port: Port) -> Iterator[tuple[object, str]]:
    """Yield each address of the guest whose kept ports the container serves, and its own there."""
    if port.kept is None:
        return
    if not port.kept.stand_ins:  # the container has the guest's addresses itself
        for address in interface.addresses:
            if not address.ip.is_link_local:
                yield address.ip, str(address.ip)
    is_bridge = isinstance(port.path, Bridge) and port.local is not None
    device = port.local.device if is_bridge and port.local else port.uplink
    for each in port.kept.stand_ins:
        yield each.guest, str(each.own) if each.own.version == 4 else f"{each.own}%{device}"


def _require_free(settings: Settings, identity: Identity, port: int) -> None:
    if any(own.protocol == "tcp" and port in own for own in identity.listening):
        raise _taken(settings, port)


def _require_unbound(settings: Settings, address: str, port: int) -> None:
    """Require that no program listens on loopback. The identity does not list these."""
    try:
        exporter.listening(address, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(settings, port) from None
        raise SettingsError(
            f"{METRICS.name}={settings.given[METRICS.name]}: {error.strerror}",
            "give the port alone, or another address",
        ) from None


def _taken(settings: Settings, port: int) -> SettingsError:
    return SettingsError(
        f"{METRICS.name}={settings.given[METRICS.name]}: another program of the container "
        f"listens on TCP port {port}",
        "choose another port",
    )


def _unknown(settings: Settings) -> SettingsError:
    return SettingsError(
        f"{METRICS.name}={settings.given[METRICS.name]} is not an address at which the container "
        "can serve",
        "give the port alone, an address of the container, or 127.0.0.1 with the port",
    )
