"""The wheel and the source distribution of a release, installed as a user installs them."""

from __future__ import annotations

import hashlib
import signal
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import vmnet as package
from tests.lab.command import run
from tests.lab.interpreters import interpreter
from tests.lab.net.lan import Lan
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet, is_vm

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
# A download and an installation of all dependencies.
INSTALLATION = 3 * WAIT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A wheel and a source distribution of this tree, by the ends of their names."""
    return _build(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")


@pytest.fixture(scope="module", params=VERSIONS)
def installed(
    request: pytest.FixtureRequest,
    built: Mapping[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The ``bin`` folder of a fresh virtual environment that contains only the wheel."""
    found = interpreter(request.param)
    folder = tmp_path_factory.mktemp(f"python{request.param}-")
    run(found, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check", "--no-compile")
    run(python, "-m", "pip", "install", *options, built["whl"], timeout=INSTALLATION, cwd=folder)
    return python.parent


def _build(source: Path, into: Path, *targets: str) -> Mapping[str, Path]:
    chosen = [word for target in targets for word in ("--target", target)]
    run(sys.executable, "-m", "hatchling", "build", "-d", into, *chosen, cwd=source)
    return {path.suffix[1:]: path for path in into.iterdir()}


def test_the_source_distribution_makes_the_same_wheel(
    built: Mapping[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(built["gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = _build(source, tmp_path / "dist", "wheel")["whl"]
    assert _sha256(again) == _sha256(built["whl"])
    for path in ("LICENSE", "Dockerfile", "deploy/requirements.txt", "docs/networking.md", "test"):
        assert (source / path).is_file()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_an_installed_wheel(installed: Path, vmnet: Vmnet, network: Lan, tmp_path: Path) -> None:
    program = installed / "vmnet"
    shown = run(program, "--version", cwd=tmp_path).stdout
    assert shown == f"vmnet {package.__version__}\n"
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)
    hooks = run(program, "hooks", "--json", cwd=tmp_path).json()
    assert hooks["vmnet"] == package.__version__
    assert run(program, "config", "--json", cwd=tmp_path).json()
    web = network.container("web", ipv6=True)
    environ = {**vmnet.environ, "VMNET_ACCEL": "tcg"}
    plan = web.run(program, "plan", "--json", env=environ, cwd=tmp_path).json()
    assert plan["identity"]["hostname"] == "web"
    # The file of `vmnet precompile` depends on the interpreter's version.
    run(program, "precompile", cwd=tmp_path)
    with web.popen(program, "run", env=environ, cwd=tmp_path, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert web.addresses("br0")
        process.signal(signal.SIGTERM)
        process.wait()
