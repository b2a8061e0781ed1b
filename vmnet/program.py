"""Run a module as a program of its own. The core and plugins start their programs like this."""

from __future__ import annotations

import os
import sys
from importlib import import_module

_CALL = "from {0} import main; main(*sys.argv[1:])"
# The program imports the module, because compiling a script would leave memory in use.
_LIGHT_CALL = "sys.path += sys.argv[1:3]; del sys.argv[1:3]; " + _CALL
_CORE = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120


def command(module: str, *words: object, light: bool = False) -> tuple[str, ...]:
    """Return the command line that calls ``main(*words)`` of a module in a new interpreter.

    The environment and the working directory don't change what the interpreter imports.

    :param module: its full name, such as ``vmnet_dnsmasq.refresh``
    :param words: the arguments, which ``main`` gets as strings
    :param light: whether every import counts, because the program runs as long as the VM. It can
        import the standard library and, by relative imports, its own package: in a light program,
        ``vmnet_dnsmasq.responder.daemon`` is ``responder.daemon``. From ``vmnet``, it should import
        only the small modules that :mod:`vmnet.api` names.
    """
    if not light:
        return (sys.executable, "-I", "-c", f"import sys; {_CALL.format(module)}", *_text(words))
    top, _, inner = module.partition(".")
    # The package on top is skipped, because its __init__ may import much.
    folder = os.path.dirname(str(import_module(top).__file__))  # noqa: PTH120
    options = ("-I", "-S", "-B", "-c", f"import sys; {_LIGHT_CALL.format(inner)}")
    return (sys.executable, *options, folder, _CORE, *_text(words))


def _text(words: tuple[object, ...]) -> tuple[str, ...]:
    return tuple(map(str, words))
