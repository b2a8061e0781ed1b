"""Assemble the machine from what it boots, its resources and its NICs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from vmnet.model.devices import AGENT_CHANNEL, Balloon, Channel, Device, SharedFolder, Tpm
from vmnet.model.identity import Identity
from vmnet.model.machine import Machine
from vmnet.model.wiring import Wiring
from vmnet.planning import nics
from vmnet.planning.booting import boot_order, firmware
from vmnet.planning.booting.boot import Boot
from vmnet.planning.hardware import accelerator, architecture, memory, sizing
from vmnet.planning.storage import own_files
from vmnet.planning.storage.own_files import OwnFile
from vmnet.settings import core
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)


def assemble(
    settings: Settings,
    identity: Identity,
    wiring: Wiring,
    boot: Boot,
    contributed: tuple[Device, ...],
    own_firmware: str = "",
) -> Machine:
    """Return the machine, with its NICs in the order of the wiring.

    :param contributed: the plugins' devices, which follow the user's
    :param own_firmware: the user's own argument that sets the firmware
    """
    guests = architecture.choose(settings)
    chosen = firmware.choose(settings, boot, own_firmware)
    disks = tuple(boot_order.disks(settings, boot.devices, chosen))
    files = own_files.of(settings, (*disks, *contributed), boot.kernel, chosen)
    own_files.require_apart(files)
    own: tuple[Device, ...] = (
        *_agent(settings),
        *_balloon(settings),
        *_tpm(settings, boot),
        *_shared(settings, files),
    )
    size, huge_page = _memory(settings)
    return Machine(
        name=identity.hostname,
        memory=size,
        cpus=sizing.cpu_count(settings),
        accelerator=accelerator.choose(settings[core.ACCEL], guests),
        run_dir=settings[core.RUN_DIR],
        nics=nics.of(settings, identity, wiring),
        devices=(*disks, *contributed, *own),
        kernel=boot.kernel,
        spare_nics=settings[core.HOTPLUG],
        firmware=chosen,
        architecture=guests.name,
        huge_page=huge_page,
    )


def _balloon(settings: Settings) -> Iterator[Balloon]:
    """Yield the balloon. A huge page that it returned could be taken when the guest needs it."""
    if settings[core.BALLOON] and not settings[core.HUGEPAGES]:
        yield Balloon()


def _agent(settings: Settings) -> Iterator[Channel]:
    if settings[core.AGENT]:
        yield Channel(AGENT_CHANNEL, settings[core.RUN_DIR] / "agent.sock")


def _tpm(settings: Settings, boot: Boot) -> Iterator[Tpm]:
    if settings[core.TPM]:
        from vmnet.planning import tpm

        yield tpm.plan(settings, boot)


def _shared(settings: Settings, files: tuple[OwnFile, ...]) -> tuple[SharedFolder, ...]:
    if not settings[core.SHARE]:
        return ()
    from vmnet.planning.storage import shared_folders

    return shared_folders.plan(settings, files)


def _memory(settings: Settings) -> tuple[int, int]:
    """Return the size of the memory, and of its huge pages; huge pages count for no other limit."""
    wanted = sizing.memory_size(settings)
    if settings[core.HUGEPAGES]:
        from vmnet.planning.hardware import huge_pages

        return huge_pages.require(wanted)
    memory.require(wanted)
    if shortage := memory.shortage(wanted, sizing.qemu_memory(settings)):
        _log.warning(
            "%s: if they need more, the kernel swaps or kills QEMU",
            shortage,
            extra={"event": "machine.memory_short"},
        )
    return wanted, 0
