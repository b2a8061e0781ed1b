"""The conformance suite: vmnet's plugins pass it, and a broken plugin fails each check."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.lab.wait import WAIT
from tests.unit.broken_plugins import BROKEN, HEAD, REQUIRE, pair
from tests.unit.test_discovery import distribution

ROOT = Path(__file__).parents[2]
OWN = sorted(folder.name for folder in (ROOT / "plugins").iterdir() if folder.is_dir())


def environment(site: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(site), *map(str, plugin_folders()))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def plugin_folders() -> Iterator[Path]:
    """Return the folders of the shipped plugins, as in an editable install."""
    return (ROOT / "plugins" / name for name in OWN)


def suite(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(site), "-c", os.devnull)
    return subprocess.run(
        (sys.executable, "-m", "pytest", *options, *arguments),
        cwd=site,
        env=environment(site),
        capture_output=True,
        text=True,
        timeout=WAIT,
    )


def test_vmnet_s_plugins_pass(tmp_path: Path) -> None:
    options = (word for name in OWN for word in ("--vmnet-plugin", name))
    done = suite(tmp_path, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = re.search(r"(\d+) skipped", done.stdout)
    assert skipped is None or os.geteuid() != 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 10 * len(OWN), done.stdout


TEST_HEAD = """
from pathlib import Path
from vmnet.testing.conformance import Conformance
"""
TEST_CLASS = """
class Test{name}(Conformance):
    plugin = "{name}"

    def allocated(self):
        return Path(__file__).with_name("{name}.py.store").exists()
"""


def make(site: Path, sources: Mapping[str, str]) -> None:
    """Install plugins with these names and sources, and a test that runs the suite on each."""
    for name, source in sources.items():
        own = source.replace("VMNET_BROKEN_", f"VMNET_{name.upper()}_")
        (site / f"{name}.py").write_text(f"{HEAD}{own}\n")
        distribution(site, f"vmnet-{name}", f"[vmnet]\n{name} = {name}\n")
    classes = "".join(TEST_CLASS.format(name=name) for name in sources)
    (site / "test_them.py").write_text(TEST_HEAD + classes)


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The failure message for each broken plugin, from a single run."""
    site = tmp_path_factory.mktemp("site")
    named = {f"broken{number}": fault for number, fault in enumerate(BROKEN)}
    make(site, {name: BROKEN[fault][0] for name, fault in named.items()})
    checks = (f"test_them.py::Test{name}::test_{BROKEN[fault][1]}" for name, fault in named.items())
    done = suite(site, "--junit-xml=report.xml", *checks)
    assert done.returncode == 1, done.stdout + done.stderr
    report = ElementTree.parse(site / "report.xml")
    return {
        named[case.attrib["classname"].rpartition(".Test")[2]]: "".join(case.itertext())
        for case in report.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_fails_the_check_that_it_breaks(
    name: str, failures: Mapping[str, str]
) -> None:
    assert name in failures, "its check has passed"
    assert BROKEN[name][2] in failures[name]


def test_every_check_has_a_broken_plugin() -> None:
    modules = (ROOT / "vmnet/testing/conformance").glob("*.py")
    source = "".join(module.read_text() for module in modules)
    checks = set(re.findall(r"def test_(\w+)\(", source))
    assert checks == {check for _, check, _ in BROKEN.values()}


def test_a_valid_plugin_that_allocates_passes(tmp_path: Path) -> None:
    source = pair() + REQUIRE + "return Requirements(dns=identity.resolver.is_local)\n"
    make(tmp_path, {"sound": source})
    done = suite(tmp_path, "test_them.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    done = suite(tmp_path, "--vmnet-plugin", "absent")
    assert done.returncode == 1
    assert "no plugin absent is installed" in done.stdout


def test_the_pytest_plugin_imports_nothing_for_other_tests(tmp_path: Path) -> None:
    """pytest loads vmnet's plugin wherever vmnet is installed."""
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "def test_theirs():\n"
        "    loaded = {name for name in sys.modules if name.split('.')[0] == 'vmnet'}\n"
        "    assert loaded == {'vmnet', 'vmnet.pytest_plugin'}\n"
        "    assert 'attr' not in sys.modules\n"
    )
    done = suite(tmp_path, "-W", "error", "--strict-markers", "test_theirs.py")
    assert done.returncode == 0, done.stdout + done.stderr
