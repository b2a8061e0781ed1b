"""``vmnet precompile``: what a start imports, in one file."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence

from vmnet import pipeline, precompiled
from vmnet.errors import StateError, UsageError, VmnetError

_EPILOG = """\
The file is beside vmnet, and starts are faster by a sixth: a line for the build of an image,
`RUN vmnet precompile`. It takes the environment that the starts will have, VMNET_IPAM above all.
What changes afterwards, such as a plugin that is upgraded, is imported as ever.
"""
# What carries out a plan is imported when it is about to, as what looks at a disk is: see
# vmnet.lifecycle.start and vmnet.assembly.
_CARRYING_OUT = (
    "ctypes",
    "vmnet.cli.run",
    "vmnet.image.choose",
    "vmnet.image.qcow2",
    "vmnet.lifecycle.become",
    "vmnet.net.antispoof",
    "vmnet.net.arp",
    "vmnet.net.build",
    "vmnet.net.capture",
    "vmnet.net.dns",
    "vmnet.net.ndp",
    "vmnet.net.router",
    "vmnet.net.rtnl",
    "vmnet.net.snapshot",
    "vmnet.net.steps",
)
# What the machine of the starts has and the one that builds the image has not: any file will do for
# the guest's, which may come with the container.
_HERE = {
    **dict.fromkeys(("VMNET_DISK", "VMNET_CDROM", "VMNET_INITRD", "VMNET_FIRMWARE"), ""),
    "VMNET_KERNEL": "/proc/version",
    "VMNET_ACCEL": "tcg",
    "VMNET_MEMORY": "16M",
}
# On the network, and on loopback, where Docker's is on all but its default network.
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
            "nobody has noted what was imported so far", "call the program: `vmnet precompile`"
        )
    _rehearse(recorder, environ)
    count, content = recorder.content()
    _write(content)
    print(f"{count} modules are in {precompiled.PATH}, {len(content) >> 10} KiB")
    return 0


def _parse(arguments: Sequence[str]) -> None:
    from vmnet.cli.output import Parser

    description = "Put what `vmnet run` imports into one file, compiled."
    parser = Parser("precompile", description, json=False)
    parser.epilog = _EPILOG
    parser.parse_args(arguments)


def _rehearse(recorder: precompiled.Recorder, environ: Mapping[str, str]) -> None:
    """Plan starts for containers such as Docker makes, but for what needs one: NICs, and a disk.

    :raises vmnet.errors.VmnetError: a setting or a plugin is wrong
    """
    with recorder:
        for module in _CARRYING_OUT:
            importlib.import_module(module)
        hooks = pipeline.select({**environ, **_HERE})
    from vmnet import testing

    identities = [testing.identity(resolver=testing.resolver(one)) for one in _NAMESERVERS]
    logging.disable(logging.WARNING)  # that is of the machine which builds the image
    try:
        for identity in identities:
            with recorder:
                needs = hooks.requirements(identity)
            nameserver = _FORWARDER if needs.dns else ""
            wiring = testing.wiring(identity, contain=needs.contain, nameserver=nameserver)
            with recorder:
                pipeline.plan(hooks, known=(identity, wiring))
    except VmnetError as error:  # a file that a container brings, say
        logging.disable(logging.NOTSET)
        _log.warning("what a start imports after this is not in the file: %s", error.message)


def _write(content: bytes) -> None:
    from pathlib import Path

    from vmnet.lifecycle import files

    try:
        files.write(Path(precompiled.PATH), content, 0o644)
    except StateError as error:
        hint = "it is for the build of an image, where root may write there"
        raise StateError(error.message, hint) from None
