"""Fixed PCI addresses: none depends on which other devices the machine has. Pure functions.

A guest names its NICs by these addresses (``enp0s3``) and its disks in their order. QEMU gives
the devices of the user's own arguments the free slots, from the lowest on. No slot before the disks
is free, so these devices follow vmnet's disks.

docs/networking.md has the table. A change renames the NICs of existing guests.
"""

from __future__ import annotations

from vmnet.api import frozen

_FUNCTIONS = 8  # of a slot
_NIC_SLOTS, _SHARED_NIC_SLOTS = 16, 6
MAX_NICS = _NIC_SLOTS + _SHARED_NIC_SLOTS * _FUNCTIONS
MAX_DISKS = _FUNCTIONS
MAX_SPARE_NICS = _FUNCTIONS
DISPLAY, CDROMS, PANIC = "addr=0x1a", "addr=0x1b", "addr=0x1c"
_SMALL = ("entropy", "balloon", "channels", "scsi", "sata", "share0", "share1", "share2")
_OTHER_SMALL = 0x1E
# QEMU creates the devices of these options first, in the lowest free slot.
_EARLY_OPTIONS = frozenset(
    dashes + name for name in ("vga", "nic", "net") for dashes in ("-", "--")
)


@frozen
class Places:
    """The PCI addresses of the devices of a machine.

    :param extra: the user's own arguments
    """

    machine_type: str
    extra: tuple[str, ...] = ()

    @property
    def has_ide(self) -> bool:
        """Whether the machine has IDE channels."""
        return _is_i440fx(self.machine_type)

    @property
    def has_sata(self) -> bool:
        """Whether the machine has SATA ports."""
        return self.machine_type.startswith(("q35", "pc-q35"))

    def small(self, name: str) -> str:
        """Return the address of one of the devices in :data:`_SMALL`, which share a slot.

        The first is always there. The user's own display can take their usual slot.
        """
        is_taken = not _EARLY_OPTIONS.isdisjoint(self.extra)
        slot = _OTHER_SMALL if is_taken else _first(self.machine_type)
        return _shared(slot, _SMALL.index(name))

    def disk(self, number: int) -> str:
        """Return the address of a disk, which shares a slot with the other disks."""
        return _shared(_first(self.machine_type) + 1, number)

    def nic(self, number: int) -> str:
        """Return the address of a NIC. They rise with the number, as the guest orders its NICs."""
        slot = _first(self.machine_type) + 2
        if number < _NIC_SLOTS:
            return f"addr={slot + number:#x}"
        return _shared(slot + _NIC_SLOTS, number - _NIC_SLOTS)


def spare_nic(number: int) -> str:
    """Return the address of a port for a NIC that is added while the VM runs."""
    return _shared(0x19, number)


def has_spare_nics(machine_type: str) -> bool:
    """Return whether the machine has PCI Express, whose ports can get NICs while it runs."""
    return not _is_i440fx(machine_type)


def _is_i440fx(machine_type: str) -> bool:
    return machine_type.startswith("pc") and not machine_type.startswith("pc-q35")


def _first(machine_type: str) -> int:
    """Return the first slot without a device of the machine itself; ``pc`` is an i440FX."""
    return 2 if _is_i440fx(machine_type) else 1


def _shared(slot: int, number: int) -> str:
    more, function = divmod(number, _FUNCTIONS)
    return f"multifunction=on,addr={slot + more:#x}.{function}"
