"""The models of the guest's NICs, by the names of the container's interfaces."""

from __future__ import annotations

from vmnet.model.base import frozen

VIRTIO = "virtio"
MODELS = (VIRTIO, "e1000", "e1000e", "rtl8139", "vmxnet3")


@frozen
class NicModels:
    """The models that VMNET_NIC_MODEL selects.

    :param others: the model of the interfaces without a model of their own
    :param exceptions: interfaces with their models
    """

    others: str = VIRTIO
    exceptions: tuple[tuple[str, str], ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """All models that a NIC can have."""
        return frozenset((self.others, *(model for _, model in self.exceptions)))

    def of(self, interface: str) -> str:
        """Return the model of an interface's NIC."""
        return dict(self.exceptions).get(interface, self.others)
