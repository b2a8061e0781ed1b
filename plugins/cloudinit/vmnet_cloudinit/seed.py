"""The seed: an ISO 9660 image that cloud-init's NoCloud datasource finds by its label.

https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

from pathlib import Path

from vmnet.api import Delivery, File, Identity, Wiring
from vmnet_cloudinit import document, iso, metadata, replaced, vendordata
from vmnet_cloudinit.content import UserContent
from vmnet_cloudinit.network import Network

LABEL = "cidata"
# NoCloud refuses a seed without user-data, and the schema refuses an empty cloud-config.
_NO_USER_DATA = b"#cloud-config\n{}\n"
_HEADER = b"# Written by vmnet: the network identity of the container.\n"


def deliver(path: Path, identity: Identity, wiring: Wiring, own: UserContent) -> Delivery:
    """Deliver the seed of an identity."""
    network = Network.of(identity, wiring)
    return Delivery(
        strategy="cloudinit",
        # The mode is strict because the seed may contain passwords.
        files=(File(path, iso.image(LABEL, files(identity, wiring, own)), 0o600),),
        not_carried=(
            *metadata.not_carried(identity),
            *network.not_carried,
            *vendordata.not_carried(identity),
            *replaced.not_carried(own, identity),
        ),
    )


def files(identity: Identity, wiring: Wiring, own: UserContent) -> dict[str, bytes]:
    """Return the content of the image's files by name."""
    network = Network.of(identity, wiring).config
    return {
        "meta-data": _HEADER + document.dump(metadata.metadata(identity, wiring, own.ssh_keys)),
        "network-config": _HEADER + document.dump(network),
        "user-data": _NO_USER_DATA if own.user_data is None else own.user_data,
        "vendor-data": vendordata.vendor_data(
            identity, own.vendor_data, own.config, own.shared_folders
        ),
    }
