"""The container's names as its files say them now: an engine rewrites them while the VM runs."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from vmnet.identity import Host, Identity
from vmnet.net import resolver
from vmnet.noun import Noun, noun
from vmnet.settings import DNS, Settings

HOSTS, RESOLV_CONF = resolver.HOSTS, resolver.RESOLV_CONF


@noun
class Names(Noun):
    """What the files say.

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
    """The files that an identity has its names from.

    It may have them from elsewhere: VMNET_DNS, another capture strategy, a system that allocates.
    """
    found = read()
    same = {
        HOSTS: identity.hosts == found.hosts,
        RESOLV_CONF: settings[DNS] is None and identity.resolver.nameservers == found.nameservers,
    }
    return tuple(path for path, is_same in same.items() if is_same)
