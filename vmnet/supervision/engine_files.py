"""The hosts and nameservers in the container's files, which an engine may rewrite at any time."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from vmnet.model.base import frozen
from vmnet.model.identity import Host, Identity
from vmnet.net import resolver
from vmnet.settings.core import DNS
from vmnet.settings.table import Settings

HOSTS, RESOLV_CONF = resolver.HOSTS, resolver.RESOLV_CONF


@frozen
class Names:
    """The content of the files.

    :param hosts: from /etc/hosts, without the container's own names
    :param nameservers: from /etc/resolv.conf
    """

    hosts: tuple[Host, ...]
    nameservers: tuple[IPv4Address | IPv6Address, ...]


def read() -> Names:
    """Read both files."""
    hostname, domain = resolver.read_names()
    own = frozenset((hostname, f"{hostname}.{domain}", os.uname().nodename))
    return Names(resolver.read_hosts(own), resolver.read_resolver().nameservers)


def files(settings: Settings, identity: Identity) -> tuple[Path, ...]:
    """Return the files that contain the identity's hosts or nameservers.

    These may also come from VMNET_DNS, another capture strategy, or a system that allocates.
    """
    names = read()
    is_source = {
        HOSTS: identity.hosts == names.hosts,
        RESOLV_CONF: settings[DNS] is None and identity.resolver.nameservers == names.nameservers,
    }
    return tuple(path for path, is_used in is_source.items() if is_used)
