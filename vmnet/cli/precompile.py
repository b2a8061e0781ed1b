"""``vmnet precompile``: write the modules that a start imports to one file."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence

from vmnet import pipeline
from vmnet.errors import StateError, UsageError, VmnetError
from vmnet.imports import precompiled

_EPILOG = """\
The file is in vmnet's own folder and makes starts faster by a sixth. Add `RUN vmnet precompile` to
the build of an image, with the environment variables that the starts will have, above all
VMNET_IPAM. A module that changes later, such as an upgraded plugin, is imported as usual.
"""
# A start imports these only when it carries out a plan or examines a disk: see
# vmnet.lifecycle.start and vmnet.planning.boot.
_IMPORTED_LATE = (
    "ctypes",
    "vmnet.cli.run",
    "vmnet.planning.image.choose",
    "vmnet.planning.image.qcow2",
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
    **dict.fromkeys(("VMNET_DISK", "VMNET_CDROM", "VMNET_INITRD", "VMNET_FIRMWARE"), ""),
    "VMNET_KERNEL": "/proc/version",
    "VMNET_ACCEL": "tcg",
    "VMNET_MEMORY": "16M",
}
# On the network, and on loopback: Docker's own DNS on every network but the default.
_NAMESERVERS = ("192.0.2.53", "127.0.0.11")
_FORWARDER = "172.17.255.254/16"
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    recorder = precompiled.recorder()
    if recorder is not None:
        recorder.pause()
        recorder.forget(__name__)
    _parse(arguments)
    if recorder is None:
        raise UsageError(
            "the imports of this process were not recorded", "run the program `vmnet precompile`"
        )
    _rehearse(recorder, environ)
    count, content = recorder.content()
    _write(content)
    print(f"{count} modules written to {precompiled.PATH}, {len(content) >> 10} KiB")
    return 0


def _parse(arguments: Sequence[str]) -> None:
    from vmnet.terminal.options import Parser

    description = "Write the modules that `vmnet run` imports to one file, compiled."
    parser = Parser("precompile", description, json=False)
    parser.epilog = _EPILOG
    parser.parse_args(arguments)


def _rehearse(recorder: precompiled.Recorder, environ: Mapping[str, str]) -> None:
    """Plan starts for typical Docker containers, without the steps that need NICs or a disk.

    :raises vmnet.errors.VmnetError: a setting or a plugin is wrong
    """
    with recorder:
        for module in _IMPORTED_LATE:
            importlib.import_module(module)
        hooks = pipeline.select({**environ, **_SUBSTITUTES})
    from vmnet import testing

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
            "the rehearsal ended early, so the file lacks later imports: %s", error.message
        )


def _write(content: bytes) -> None:
    from pathlib import Path

    from vmnet.lifecycle import files

    try:
        files.write(Path(precompiled.PATH), content, 0o644)
    except StateError as error:
        hint = "run it as root while building an image"
        raise StateError(error.message, hint) from None
