"""The program, ``vmnet`` or ``python -m vmnet``. Only this module exits."""

from __future__ import annotations

import gc
import os
import sys

from vmnet.imports import precompiled

gc.disable()  # a start makes hardly any garbage, and ends in an exec
if sys.argv[1:2] == ["run"]:
    precompiled.use()
elif sys.argv[1:2] == ["precompile"]:
    precompiled.record()

from vmnet.imports.deferred import defer_unused  # noqa: E402

defer_unused()  # before any module that imports them

from vmnet.lifecycle import stop_signals  # noqa: E402
from vmnet.supervision import process_name  # noqa: E402

if sys.argv[1:2] == ["run"]:
    stop_signals.hold()

from vmnet import cli, log  # noqa: E402
from vmnet.errors import InterruptedStartError, VmnetError  # noqa: E402


def main() -> None:
    """Run the command line and exit with a code that docs/operations.md lists."""
    process_name.set_own("vmnet")  # instead of the interpreter's name
    log.configure(os.environ)
    try:
        if sys.argv[1:2] != ["run"]:
            stop_signals.deliver()  # the image's script blocks signals for every command
        status = cli.main(sys.argv[1:], os.environ)
    except (VmnetError, InterruptedStartError) as error:
        log.report(error)
        status = error.exit_code
    except KeyboardInterrupt:  # in a command that changes nothing
        status = 130
    except BrokenPipeError:  # `vmnet config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    _exit(status)


def _exit(status: int) -> None:
    """Exit without waiting for threads that a plugin has left behind."""
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        from contextlib import suppress

        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
