"""Every file in deploy/ is at least well-formed. Other tests run these files."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.docs import pages
from tests.docs.pages import ROOT
from tests.lab.command import run
from vmnet.planning import capabilities

FILES = sorted(path for path in (ROOT / "deploy").rglob("*.*") if "__pycache__" not in path.parts)


def _yaml(text: str) -> None:
    documents = list(yaml.safe_load_all(text))
    assert documents
    assert all(isinstance(document, dict) for document in documents)


def _shell(text: str) -> None:
    run("sh", "-n", input=text)


def _unit(text: str) -> None:
    """Parse a unit of systemd, whose keys may occur several times."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.read_string(text)
    assert {"Unit", "Container"} <= set(parser.sections())


def _requirements(text: str) -> None:
    lines = re.sub(r"#.*|\\\n", "", text).splitlines()
    wanted = [Requirement(line.split(" --hash=", 1)[0]) for line in lines if line.strip()]
    assert wanted
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", line) for line in lines if line.strip())


CHECKS: Mapping[str, Callable[[str], object]] = {
    ".container": _unit,
    ".json": json.loads,
    ".py": ast.parse,
    ".sh": _shell,
    ".txt": _requirements,
    ".yaml": _yaml,
}


@pytest.mark.parametrize("file", FILES, ids=pages.name)
def test_a_file_is_well_formed(file: Path) -> None:
    assert file.suffix in CHECKS, "a new kind of file needs a check here"
    CHECKS[file.suffix](file.read_text())


def test_the_pod_has_the_capabilities_of_the_table() -> None:
    pod = yaml.safe_load((ROOT / "deploy/kubernetes/base/pod.yaml").read_text())
    (container,) = pod["spec"]["containers"]
    granted = container["securityContext"]["capabilities"]
    assert granted["drop"] == ["ALL"]
    assert set(granted["add"]) == set(capabilities.needed_by(capabilities.VM))
