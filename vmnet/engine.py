"""The words of hints in the language of the engine that runs this container.

Docker's words are the default, because other engines leave traces in the container.
"""

from __future__ import annotations

import os
from pathlib import Path

_KUBERNETES = Path("/var/run/secrets/kubernetes.io")
_PODMAN = Path("/run/.containerenv")


def name() -> str:
    """Return ``docker``, ``podman`` or ``kubernetes``."""
    if "KUBERNETES_SERVICE_HOST" in os.environ or _KUBERNETES.exists():
        return "kubernetes"
    if _PODMAN.exists() or os.environ.get("container") == "podman":  # noqa: SIM112
        return "podman"
    return "docker"


def command(verb: str, *arguments: str) -> str:
    """Return the engine's command on this container, such as ``docker exec NAME vmnet stop``."""
    words = ("kubectl", verb, "POD") if name() == "kubernetes" else (name(), verb, "NAME")
    dashes = ("--",) if name() == "kubernetes" and arguments else ()
    return f"`{' '.join((*words, *dashes, *arguments))}`"


def stop() -> str:
    """Return the command that ends the container."""
    return "`kubectl delete pod POD`" if name() == "kubernetes" else command("stop")


def kill() -> str:
    """Return the command that ends the container at once."""
    if name() == "kubernetes":
        return "`kubectl delete pod POD --force`"
    return command("kill")


def capability(needed: str) -> str:
    """Return how to grant a capability."""
    if name() == "kubernetes":
        return f"add it to the container's securityContext: `capabilities: {{add: [{needed}]}}`"
    return f"run the container with `--cap-add {needed}`"


def device(path: Path) -> str:
    """Return how to grant a device."""
    if name() == "kubernetes":
        return f"the node's runtime must allow {path}: use a device plugin, or `privileged: true`"
    return f"run the container with `--device {path}`"


def mount(path: Path, mode: str = "") -> str:
    """Return how to mount a file.

    :param mode: a suffix for the container's path, such as ``:ro``
    """
    if name() == "kubernetes":
        return f"mount a volume that contains it: `volumeMounts: [{{mountPath: {path.parent}}}]`"
    return f"mount it: `-v /path/on/the/host:{path}{mode}`"


def assignment(variable: str, value: str) -> str:
    """Return how to set an environment variable."""
    if name() == "kubernetes":
        return f"`env: [{{name: {variable}, value: {value}}}]`"
    return f"`-e {variable}={value}`"


def memory_limit() -> str:
    """Return the name of the container's memory limit."""
    return "`resources.limits.memory`" if name() == "kubernetes" else "`--memory`"
