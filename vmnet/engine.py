"""The words of hints in the language of the engine that runs this container.

Docker's words are the default, because other engines leave traces in the container.
"""

from __future__ import annotations

import os
from pathlib import Path

_KUBERNETES = Path("/var/run/secrets/kubernetes.io")
_HOSTS = Path("/etc/hosts")
_PODMAN = Path("/run/.containerenv")


def name() -> str:
    """Return ``docker``, ``podman`` or ``kubernetes``."""
    if "KUBERNETES_SERVICE_HOST" in os.environ or _KUBERNETES.exists():
        return "kubernetes"
    if _PODMAN.exists() or os.environ.get("container") == "podman":  # noqa: SIM112
        return "podman"
    return "docker"


def is_pod() -> bool:
    """Return whether this container is in a pod of Kubernetes, by two independent marks."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return False
    return _KUBERNETES.exists() or _is_kubelets(_HOSTS)


def _is_kubelets(hosts: Path) -> bool:
    return hosts.exists() and "# Kubernetes-managed hosts file" in hosts.read_text("latin-1")


def command(verb: str, *arguments: str) -> str:
    """Return the engine's command on this container, such as ``docker exec NAME vmnet stop``."""
    words = ("kubectl", verb, "POD") if name() == "kubernetes" else (name(), verb, "NAME")
    dashes = ("--",) if name() == "kubernetes" and arguments else ()
    return f"`{' '.join((*words, *dashes, *arguments))}`"


def attach() -> str:
    """Return how to show the console from outside the container."""
    leave = "" if name() == "kubernetes" else ", and Ctrl-P Ctrl-Q leaves it"
    return f"{command('attach')} shows the console, too{leave}"


def stop() -> str:
    """Return the command that ends the container."""
    return "`kubectl delete pod POD`" if name() == "kubernetes" else command("stop")


def kill() -> str:
    """Return the command that ends the container at once."""
    if name() == "kubernetes":
        return "`kubectl delete pod POD --force`"
    return command("kill")


def capability(*needed: str) -> str:
    """Return how to grant capabilities."""
    if name() == "kubernetes":
        listed = ", ".join(needed)
        return f"add to the container's securityContext: `capabilities: {{add: [{listed}]}}`"
    return f"run the container with `{' '.join(f'--cap-add {wanted}' for wanted in needed)}`"


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


def mount_folder(path: Path) -> str:
    """Return how to mount a folder."""
    if name() == "kubernetes":
        return f"mount a volume there: `volumeMounts: [{{mountPath: {path}}}]`"
    return f"mount it: `-v /path/on/the/host:{path}`"


def no_file() -> str:
    """Return where to look if the container has a folder in place of a mounted file."""
    if name() == "docker":
        return "Docker creates a folder for a missing `-v` source: check the path on the host"
    return "check what is mounted there: the engine creates a folder where it mounts one"


def limit(option: str, minimum: int) -> str:
    """Return how to raise a limit.

    :param option: Docker's and Podman's option, such as ``--pids-limit``, with its separator
    """
    if name() == "kubernetes":
        return f"raise the limit in the node's configuration to {minimum}, or more"
    return f"raise the limit: `{option}{minimum}`, or more"


def network() -> str:
    """Return how to give the container a network."""
    if name() == "kubernetes":
        return "give the pod a network: `hostNetwork: false`, and a network plugin on the node"
    return f"give the container a network: `{name()} run` without `--network none` or `host`"


def assignment(variable: str, value: str) -> str:
    """Return how to set an environment variable."""
    if name() == "kubernetes":
        return f'`env: [{{name: {variable}, value: "{value}"}}]`'
    return f"`-e {variable}={value}`"


def memory_limit() -> str:
    """Return the name of the container's memory limit."""
    return "`resources.limits.memory`" if name() == "kubernetes" else "`--memory`"
