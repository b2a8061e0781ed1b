"""The root's wheel and the plugin folders' own agree, and hold what they need."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from readme_renderer import markdown

from tests.lab.command import run
from tests.lab.wait import WAIT
from vmnet import __version__

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir())
EXAMPLES = sorted(folder.name for folder in (ROOT / "examples").iterdir() if folder.is_dir())


def project(folder: Path) -> dict[str, Any]:
    with (folder / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
    return found


def entry_points(folder: Path) -> dict[str, str]:
    found: dict[str, str] = project(folder)["entry-points"]["vmnet"]
    return found


def _build_requirements() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["build-system"]["requires"]
    return found


def wheel(folder: Path, into: Path) -> set[str]:
    """The names in a wheel of a folder, built with what is installed."""
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(into))
    run(sys.executable, "-m", "pip", "wheel", *options, str(folder), timeout=WAIT)
    with zipfile.ZipFile(_made(into)) as archive:
        return set(archive.namelist())


def _made(into: Path) -> Path:
    (made,) = into.glob("*.whl")
    return made


def test_the_root_offers_what_the_folders_offer() -> None:
    own = {name: module for name, module in entry_points(ROOT).items() if module[5] == "_"}
    assert own == {
        name: module
        for plugin in PLUGINS
        for name, module in entry_points(ROOT / "plugins" / plugin).items()
    }


def test_everything_has_one_version() -> None:
    """A release changes the version in all of these files."""
    for path in (*ROOT.glob("plugins/*/"), *ROOT.glob("examples/*/")):
        assert project(path)["version"] == __version__, path
    label = f'org.opencontainers.image.version="{__version__}"'
    assert label in (ROOT / "Dockerfile").read_text()
    assert f"newTag: {__version__}\n" in (ROOT / "docs" / "kubernetes.md").read_text()
    releases = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[:2] == ["Unreleased", __version__]


def test_nothing_installs_another_project_s_vmnet() -> None:
    """The package index has a distribution named vmnet that is somebody else's."""
    ours = project(ROOT)["name"]
    tables = [path.read_text() for path in ROOT.glob("*/*/pyproject.toml")]
    guide = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    tables += [
        text for text in re.findall(r"```toml\n(.*?)```", guide, re.S) if "[project]" in text
    ]
    for found in (tomllib.loads(table)["project"] for table in tables):
        lines = [*found["dependencies"], *chain(*found.get("optional-dependencies", {}).values())]
        assert {ours} == {name for name in map(_name, lines) if name in ("vmnet", ours)}
    foreign = re.compile(r"pip install [^`\n]*(?<![\w./-])vmnet(?![\w-])")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*/Dockerfile")):
        assert not foreign.search(path.read_text()), path


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_a_plugin_needs_the_root_needs_too(plugin: str) -> None:
    needed = set(project(ROOT / "plugins" / plugin)["dependencies"]) - {project(ROOT)["name"]}
    assert needed <= set(project(ROOT)["dependencies"])


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_folder_is_a_distribution(plugin: str, tmp_path: Path) -> None:
    source = ROOT / "plugins" / plugin / f"vmnet_{plugin}"
    names = wheel(source.parent, tmp_path)
    files = {path for path in source.rglob("*") if path.suffix in (".py", ".j2")}
    assert {str(path.relative_to(source.parent)) for path in files} <= names


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_distribution(example: str, tmp_path: Path) -> None:
    folder = ROOT / "examples" / example
    names = wheel(folder, tmp_path)
    (module,) = entry_points(folder).values()
    files = {path for path in (folder / module).rglob("*") if path.suffix == ".py"}
    assert {str(path.relative_to(folder)) for path in files} <= names
    metadata = f"{example.replace('-', '_')}-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {module, metadata}


def test_the_root_s_wheel_holds_everything(tmp_path: Path) -> None:
    names = wheel(ROOT, tmp_path)
    for base, package in [
        (ROOT, "vmnet"),
        *((ROOT / "plugins" / p, f"vmnet_{p}") for p in PLUGINS),
    ]:
        files = {path for path in (base / package).rglob("*") if path.suffix in (".py", ".j2")}
        assert {str(path.relative_to(base)) for path in files} <= names
    assert "vmnet/py.typed" in names
    with zipfile.ZipFile(_made(tmp_path)) as archive:
        (path,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = Metadata.from_email(archive.read(path), validate=True)
    assert described.description_content_type == "text/markdown"
    rendered = markdown.render(described.description or "")
    assert rendered is not None, "the package index would show the README's source"
    assert "<table>" in rendered


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.txt", project(ROOT)["dependencies"]),
        ("build-requirements.txt", _build_requirements()),
    ],
)
def test_the_image_pins_every_requirement(lock: str, requirements: list[str]) -> None:
    """In the versions that pyproject.toml allows, with the packages that these require."""
    text = (ROOT / "deploy" / lock).read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.M))
    assert len(pins) == text.count("==")
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(pins[name]), str(requirement)
            waiting += map(Requirement, metadata.requires(name) or ())
