"""``vmnet precompile``: write the modules that a start imports to one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmnet import rehearsal
from vmnet.errors import StateError, UsageError
from vmnet.imports import precompiled

_EPILOG = """\
The file is in vmnet's own folder and saves a quarter of a start's CPU time. Add
`RUN vmnet precompile` to the build of an image, with the environment variables that the starts will
have, above all VMNET_IPAM. A module that changes later, such as an upgraded plugin, is imported as
usual.
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    recorder = precompiled.recorder()
    if recorder is not None:
        recorder.pause()
        for module in (__name__, rehearsal.__name__):
            recorder.forget(module)
    _parse(arguments)
    if recorder is None:
        raise UsageError(
            "the imports of this process were not recorded", "run the program `vmnet precompile`"
        )
    rehearsal.rehearse(recorder, environ)
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


def _write(content: bytes) -> None:
    from pathlib import Path

    from vmnet.lifecycle import files

    try:
        files.write(Path(precompiled.PATH), content, 0o644)
    except StateError as error:
        hint = "run it as root while building an image"
        raise StateError(error.message, hint) from None
