"""An identity as cloud-init's meta-data: who the instance is. Pure functions."""

from __future__ import annotations

import hashlib
import json
from ipaddress import IPv4Address
from typing import Any

import attrs

from vmnet.identity import Identity
from vmnet.names import is_domain, is_label
from vmnet.wiring import Wiring


def metadata(identity: Identity, wiring: Wiring) -> dict[str, str]:
    """What the file meta-data holds."""
    found = {"instance-id": instance_id(identity, wiring)}
    if is_label(identity.hostname):
        found["local-hostname"] = _full_name(identity)
    return found


def instance_id(identity: Identity, wiring: Wiring) -> str:
    """A name for this identity: another one has another name, the same one always the same.

    cloud-init configures network and names once for each instance id. A new one also runs the
    user's scripts again and renews the SSH host keys, so nothing but the identity may change it:
    fields at their default are left out, lest a field that a later vmnet adds should rename every
    guest, and so is what a router and the engine's nameserver answered this time.
    """
    resolver = identity.resolver
    search = tuple(name for name in resolver.search if name not in resolver.networks)
    lasting = attrs.evolve(identity, resolver=attrs.evolve(resolver, search=search, networks=()))
    plain = attrs.asdict(lasting, filter=_is_told, value_serializer=_plain)
    canonical = json.dumps([plain, str(wiring.stable_nameserver)], sort_keys=True)
    return f"vmnet-{hashlib.sha256(canonical.encode()).hexdigest()[:32]}"


def not_carried(identity: Identity) -> tuple[str, ...]:
    """The names that no program would take for names."""
    lines = []
    if not is_label(identity.hostname):
        lines.append(f"host name {identity.hostname!r}, which is not a valid one")
    if identity.domain and not is_domain(identity.domain):
        lines.append(f"domain {identity.domain!r}, which is not a valid name")
    elif identity.domain and _is_address(_joined(identity)):
        lines.append(f"domain {identity.domain!r}: cloud-init takes the whole name for an address")
    return tuple(lines)


def _full_name(identity: Identity) -> str:
    """With the domain, from which cloud-init makes host name and FQDN of the guest."""
    whole = _joined(identity)
    return identity.hostname if _is_address(whole) else whole


def _joined(identity: Identity) -> str:
    domain = identity.domain.rstrip(".")
    return f"{identity.hostname}.{domain}" if is_domain(domain) else identity.hostname


def _is_address(text: str) -> bool:
    """Whether cloud-init makes a name of its own for it, such as ``ip-10-0-0-1``."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_told(attribute: attrs.Attribute[Any], value: Any) -> bool:
    return bool(value != attribute.default) and attribute.name != "router"


def _plain(_noun: Any, _attribute: Any, value: Any) -> Any:
    is_plain = isinstance(value, str | int | dict | list | tuple) or attrs.has(type(value))
    return value if is_plain else str(value)
