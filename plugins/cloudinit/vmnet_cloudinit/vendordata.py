"""Turn names and time servers into cloud-init's vendor-data. Pure functions.

They are vendor-data because user-data belongs to the user: it stays unchanged, and wins if both set
the same key.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from vmnet.api import Identity, folder_tag, is_domain, is_label
from vmnet_cloudinit import addresses, content, document, metadata

# A boothook runs at every boot before the user's scripts. Lists under `write_files` or `bootcmd`
# would not do, because the user's lists replace them. The mark at the end of each line identifies
# the lines that a later boot replaces.
_HOSTS = """\
#cloud-boothook
#!/bin/sh
# Written by vmnet: writes the container's names to the hosts file, and to cloud-init's templates,
# from which `manage_etc_hosts: true` rewrites that file.
set -eu
links() {
    cat <<'LINKS'
@LINKS@LINKS
}
for file in /etc/hosts /etc/cloud/templates/hosts.*.tmpl; do
    [ -f "$file" ] || [ "$file" = /etc/hosts ] || continue
    old=$(cat "$file" 2>/dev/null || true)
    new=$(printf '%s\\n' "$old" | sed '/# vmnet$/d' && links)
    [ "$new" = "$old" ] || printf '%s\\n' "$new" >"$file"
done
"""
# A failed mount must not stop the boot, so its exit status only reaches cloud-init's log.
_SHARED_FOLDERS = """\
#cloud-boothook
#!/bin/sh
# Written by vmnet: mounts the folders that the container shares.
share() { mkdir -p "$2" && { mountpoint -q "$2" || mount -t virtiofs "$1" "$2"; }; }
"""


@frozen
class Part:
    """A document within the vendor-data.

    :param kind: its MIME type
    :param name: its file name
    """

    kind: str
    name: str
    body: bytes


def vendor_data(
    identity: Identity,
    own: bytes | None,
    config: Mapping[str, Any] | None = None,
    shared_folders: Iterable[Path] = (),
) -> bytes:
    """Return the scripts for hosts file and mounts, the time servers, and the user's own document.

    The user's document is last, because the last of several cloud-configs wins.

    :param config: further keys of a cloud-config
    """
    return combine(tuple(_parts(identity, own, config or {}, tuple(shared_folders))))


def not_carried(identity: Identity) -> tuple[str, ...]:
    """Return a line for each name that a hosts file must not contain."""
    return tuple(
        f"name {name!r} of {addresses.text(host.address)}: not a valid name"
        for host in identity.hosts
        for name in host.names
        if not is_domain(name)
    )


def hosts(identity: Identity) -> Iterator[str]:
    """Yield the lines for hosts(5), each with vmnet's mark.

    The first line is the guest's own name, as engines write it for the container: from this line,
    ``hostname -f`` knows the domain.
    """
    own = next((nic.addresses[0].ip for nic in identity.interfaces if nic.addresses), None)
    if own is not None and is_label(identity.hostname):
        own_names = dict.fromkeys((metadata.full_name(identity), identity.hostname))
        yield f"{addresses.text(own)}\t{' '.join(own_names)}\t# vmnet\n"
    for host in identity.hosts:
        names = tuple(filter(is_domain, host.names))
        if names:
            yield f"{addresses.text(host.address)}\t{' '.join(names)}\t# vmnet\n"


def combine(parts: tuple[Part, ...]) -> bytes:
    """Return a single part unchanged, several as a MIME message (RFC 2046 section 5.1)."""
    if len(parts) == 1:
        return parts[0].body
    rendered = [_render(part) for part in parts]
    # The boundary cannot occur in the parts: they do not contain their own hash.
    boundary = b"vmnet-" + hashlib.sha256(b"".join(rendered)).hexdigest()[:32].encode()
    head = b'Content-Type: multipart/mixed; boundary="%s"\nMIME-Version: 1.0\n\n' % boundary
    body = b"".join(b"--%s\n%s\n" % (boundary, part) for part in rendered)
    return b"%s%s--%s--\n" % (head, body, boundary)


def _parts(
    identity: Identity, own: bytes | None, config: Mapping[str, Any], folders: tuple[Path, ...]
) -> Iterator[Part]:
    # Without links, the script still removes the links of an earlier container.
    script = _HOSTS.replace("@LINKS@", "".join(hosts(identity)))
    yield Part("text/cloud-boothook", "vmnet-hosts", script.encode())
    if folders:
        mounts = "".join(f"share {folder_tag(folder)} {folder}\n" for folder in folders)
        yield Part("text/cloud-boothook", "vmnet-shares", (_SHARED_FOLDERS + mounts).encode())
    if identity.ntp:
        servers = list(map(addresses.text, identity.ntp))
        ntp = document.dump({"ntp": {"enabled": True, "servers": servers}})
        yield Part("text/cloud-config", "vmnet-ntp", b"#cloud-config\n" + ntp)
    if config:
        body = b"#cloud-config\n" + document.dump(dict(config))
        yield Part("text/cloud-config", "vmnet-login", body)
    if own is not None:
        # For text/plain, cloud-init recognises the type by the beginning of the content.
        yield Part("text/plain", "vendor-data", content.expand(own))


def _render(part: Part) -> bytes:
    """Render a part: its headers and its body, which decodes to the same bytes."""
    if content.kind(part.body) == content.MIME:
        return part.body  # it has headers already, and becomes a nested part
    header = f'Content-Type: {part.kind}\nContent-Disposition: attachment; filename="{part.name}"\n'
    if part.body.isascii() and b"\r" not in part.body:
        return b"%s\n%s" % (header.encode(), part.body)
    # Python's parser, which cloud-init uses, preserves other bytes and line ends only in base64.
    encoded = base64.encodebytes(part.body)
    return b"%sContent-Transfer-Encoding: base64\n\n%s" % (header.encode(), encoded)
