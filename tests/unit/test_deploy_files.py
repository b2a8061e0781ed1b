"""Every file in deploy/ is well-formed, and what it sets is valid. Other tests run these files."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from packaging.requirements import Requirement

from tests.docs import pages
from tests.docs.pages import ROOT
from tests.lab.command import run
from tests.lab.wait import WAIT
from tests.unit.test_docs import rows
from vmnet.planning import capabilities
from vmnet.settings import core, table

DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*.*") if "__pycache__" not in path.parts)
SERVICES = (DEPLOY / "compose.yaml", DEPLOY / "stack.yaml")
UNIT = DEPLOY / "podman" / "vm.container"


@frozen
class Deployed:
    """A VM that a file describes.

    :param limit: seconds from the stop signal until the engine kills the container
    """

    environment: dict[str, str]
    capabilities: set[str]
    limit: int


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


@pytest.mark.parametrize("file", SERVICES, ids=pages.name)
def test_compose_accepts_the_file(file: Path) -> None:
    """Compose compares the file with its schema. Swarm's is the same for what the file has."""
    run("docker-compose", "--file", file, "config", "--quiet", timeout=WAIT)


def test_the_settings_of_every_vm_are_valid() -> None:
    vms = [*(vm for file in SERVICES for vm in _of_services(file)), _of_unit()]
    assert len(vms) == 4
    for vm in vms:
        settings = table.parse(vm.environment, rows())
        assert vm.capabilities <= set(capabilities.NEEDED)
        assert "NET_ADMIN" in vm.capabilities
        stop = settings[core.STOP_TIMEOUT]
        assert stop is not None
        assert stop < vm.limit, "the engine would kill the container before the guest's time is up"


def _of_services(file: Path) -> Iterator[Deployed]:
    for service in yaml.safe_load(file.read_text())["services"].values():
        if "environment" in service:
            limit = int(service["stop_grace_period"].removesuffix("s"))
            yield Deployed(service["environment"], set(service["cap_add"]), limit)


def _of_unit() -> Deployed:
    lines = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
    environment = dict(value.split("=", 1) for key, value in lines if key == "Environment")
    limits = {key: int(value) for key, value in lines if key in ("StopTimeout", "TimeoutStopSec")}
    assert limits["StopTimeout"] < limits["TimeoutStopSec"], "systemd would kill Podman first"
    granted = {name for key, value in lines if key == "AddCapability" for name in value.split()}
    return Deployed(environment, granted, limits["StopTimeout"])
