"""The command line. Each command has a module, imported when the command is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from vmnet import __version__
from vmnet.errors import UsageError
from vmnet.settings.values import nearest

COMMANDS: Mapping[str, str] = {
    "run": "take over the container's network and become the VM (the entry point)",
    "plan": "show what `run` would do, without changing anything",
    "check": "check whether this host and container can run a VM",
    "console": "attach to the running VM's serial console",
    "health": "check whether the running VM is healthy (for HEALTHCHECK)",
    "hooks": "list the stages, their hooks and the active strategies",
    "host-bridge": "print a script that puts guests on the host's own network",
    "exec": "run a command in the guest, by its agent",
    "status": "show the running VM",
    "metrics": "print the running VM's metrics, for Prometheus",
    "snapshot": "save the running VM, and return to it",
    "stop": "power off the running VM",
    "config": "list every environment variable",
    "precompile": "make starts faster (when building an image)",
    "demo": "run a demonstration on this machine, without a container engine",
}

_OPTIONS_FIRST = (
    "the engine's options, such as `-e`, come before the image's name, and QEMU's arguments after"
    " `run`: `docker run -e VMNET_CPUS=2 … vmnet run -vga std`"
)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command.

    :return: the exit code
    :raises vmnet.errors.VmnetError: the command failed
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    name, *rest = arguments
    if name in ("-V", "--version", "version"):
        print(f"vmnet {__version__}")
        return 0
    if name not in COMMANDS:
        raise UsageError(
            f"unknown command {name}{nearest(name, tuple(COMMANDS))}",
            _OPTIONS_FIRST if name.startswith("-") else "`vmnet --help` lists the commands",
        )
    status: int = importlib.import_module(f"vmnet.cli.{name.replace('-', '_')}").main(rest, environ)
    return status


def usage() -> str:
    lines = [f"  {name:<11} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        (
            "usage: vmnet COMMAND [OPTIONS]",
            "",
            "Hands the container's network identity to the virtual machine inside it.",
            "",
            *lines,
            "",
            "`vmnet COMMAND --help` lists a command's options.",
            "`vmnet --version` prints the version.",
            "",
        )
    )
