"""Render deploy/kubernetes with Debian 13's kubectl, without a cluster."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .command import run
from .images.cache import cached
from .images.packages import RELEASE, unpack
from .wait import WAIT

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"


def render(*components: str, settings: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the objects that a user's kustomization of these components makes.

    :param settings: variables of vmnet
    """
    user = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    user["components"] = list(components)
    if settings:
        literals = [f"{variable}={value}" for variable, value in settings.items()]
        user["configMapGenerator"] = [{"name": "vm", "literals": literals}]
    return build(yaml.safe_dump(user))


def build(kustomization: str) -> list[dict[str, Any]]:
    """Return the objects of a kustomization.yaml in the place of the folder's own.

    :raises tests.lab.command.CommandError: kubectl refuses it
    """
    return list(yaml.safe_load_all(_rendered(kustomization)))


def as_pod(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the pod of the objects, or the first pod that their StatefulSet makes.

    A claim of the StatefulSet becomes a volume of the pod, as in a cluster.
    """
    (owner,) = (found for found in objects if found["kind"] in ("Pod", "StatefulSet"))
    if owner["kind"] == "Pod":
        return owner
    name = f"{owner['metadata']['name']}-0"
    pod: dict[str, Any] = owner["spec"]["template"]
    claims = [
        {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
        for claim in (made["metadata"]["name"] for made in owner["spec"]["volumeClaimTemplates"])
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**pod["metadata"], "name": name},
        "spec": {**pod["spec"], "volumes": [*pod["spec"]["volumes"], *claims]},
    }


@cache
def _rendered(kustomization: str) -> str:
    with tempfile.TemporaryDirectory(prefix="vmnet-kustomize-") as name:
        folder = Path(shutil.copytree(FOLDER, Path(name, "kubernetes")))
        (folder / "kustomization.yaml").write_text(kustomization)
        return run(kubectl(), "kustomize", folder, timeout=WAIT).stdout


def kubectl() -> Path:
    """Return the program, from the cache or from Debian 13's package."""
    return cached(f"kubectl-{RELEASE}", f"kubectl of Debian {RELEASE}", _unpack)


def _unpack(program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="vmnet-kubectl-") as name:
        files = unpack(Path(name), "kubectl")
        shutil.move(files / "usr/bin/kubectl", program)
