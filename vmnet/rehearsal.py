"""Plan starts as in typical Docker containers, so that `vmnet precompile` records their imports."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping

from vmnet import pipeline
from vmnet.errors import VmnetError
from vmnet.imports.precompiled import Recorder
from vmnet.settings import core

# A start imports these only when it carries out a plan or examines a disk: see
# vmnet.lifecycle.start and vmnet.planning.booting.boot.
_IMPORTED_LATE = (
    "ctypes",
    "vmnet.cli.run",
    "vmnet.planning.storage.image.choose",
    "vmnet.planning.storage.image.boot_sector",
    "vmnet.planning.storage.image.qcow2",
    "vmnet.planning.hardware.queues",
    "vmnet.lifecycle.become",
    "vmnet.net.filters.antispoof",
    "vmnet.net.arp",
    "vmnet.strategies.bridge.build",
    "vmnet.strategies.netns.capture",
    "vmnet.net.dns",
    "vmnet.net.ndp",
    "vmnet.net.router",
    "vmnet.net.rtnl",
    "vmnet.net.restore.snapshot",
    "vmnet.net.kernel_errors",
)
# Replaces what a machine that builds an image lacks. Any file can stand for the guest's kernel.
_SUBSTITUTES = {
    **dict.fromkeys(("VMNET_CDROM", "VMNET_INITRD", "VMNET_FIRMWARE"), ""),
    **dict.fromkeys((row.name for row in (core.DISK, *core.FURTHER_DISKS)), ""),
    "VMNET_KERNEL": "/proc/version",
    "VMNET_ACCEL": "tcg",
    "VMNET_MEMORY": "16M",
}
# On the network, and on loopback: Docker's own DNS on every network but the default.
_NAMESERVERS = ("192.0.2.53", "127.0.0.11")
_FORWARDER = "172.17.255.254/16"
_log = logging.getLogger(__name__)


def rehearse(recorder: Recorder, environ: Mapping[str, str]) -> None:
    """Plan starts without the steps that need NICs or a disk.

    :raises vmnet.errors.VmnetError: a setting or a plugin is wrong
    """
    with recorder:
        for module in _IMPORTED_LATE:
            importlib.import_module(module)
        hooks = pipeline.select({**environ, **_SUBSTITUTES})
    from vmnet import testing  # here, because the recorder must not see it

    identities = [
        testing.identity(resolver=testing.resolver(nameserver)) for nameserver in _NAMESERVERS
    ]
    logging.disable(logging.WARNING)  # warnings are about the machine that builds the image
    try:
        for identity in identities:
            with recorder:
                needs = hooks.requirements(identity)
            nameserver = _FORWARDER if needs.dns else ""
            wiring = testing.wiring(identity, contain=needs.contain, nameserver=nameserver)
            with recorder:
                pipeline.plan(hooks, known=(identity, wiring))
    except VmnetError as error:  # for example, a file that only the container has
        logging.disable(logging.NOTSET)
        _log.warning(
            "the rehearsal ended early, so the file lacks later imports: %s",
            error.message,
            extra={"event": "precompile.incomplete"},
        )
