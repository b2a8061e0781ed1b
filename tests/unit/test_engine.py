"""Hints speak the language of the engine that runs the container."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet import engine


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container without a trace of an engine, and the folder for traces."""
    for variable in ("KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(engine, "_KUBERNETES", tmp_path / "kubernetes.io")
    monkeypatch.setattr(engine, "_PODMAN", tmp_path / ".containerenv")
    return tmp_path


def hints() -> list[str]:
    return [
        engine.capability("NET_RAW"),
        engine.command("exec", "vmnet", "stop"),
        engine.command("logs"),
        engine.assignment("VMNET_CPUS", "2"),
        engine.limit("--pids-limit ", 33),
    ]


DOCKER = [
    "run the container with `--cap-add NET_RAW`",
    "`docker exec NAME vmnet stop`",
    "`docker logs NAME`",
    "`-e VMNET_CPUS=2`",
    "raise the limit: `--pids-limit 33`, or more",
]


def test_docker_is_the_default(bare: Path) -> None:
    assert hints() == DOCKER


@pytest.mark.parametrize("trace", ["file", "variable"])
def test_podman(bare: Path, monkeypatch: pytest.MonkeyPatch, trace: str) -> None:
    if trace == "file":
        (bare / ".containerenv").touch()
    else:
        monkeypatch.setenv("container", "podman")
    assert hints() == [hint.replace("docker", "podman") for hint in DOCKER]


@pytest.mark.parametrize("trace", ["folder", "variable"])
def test_kubernetes(bare: Path, monkeypatch: pytest.MonkeyPatch, trace: str) -> None:
    if trace == "folder":
        (bare / "kubernetes.io").mkdir()
    else:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    assert hints() == [
        "add to the container's securityContext: `capabilities: {add: [NET_RAW]}`",
        "`kubectl exec POD -- vmnet stop`",
        "`kubectl logs POD`",
        '`env: [{name: VMNET_CPUS, value: "2"}]`',
        "raise the limit in the node's configuration to 33, or more",
    ]
    every = [
        *hints(),
        *(engine.attach(), engine.stop(), engine.kill(), engine.no_file(), engine.network()),
        *(engine.device(Path("/dev/kvm")), engine.mount(Path("/disk")), engine.memory_limit()),
    ]
    assert not [hint for hint in every if "docker" in hint.lower() or "`--" in hint]
