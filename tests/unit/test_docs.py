"""The documentation agrees with the code."""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import reference
from tests.docs import pages, plugin
from tests.docs.pages import ROOT, Block, Example
from tests.lab.command import Completed, run
from tests.lab.wait import WAIT
from vmnet import cli
from vmnet.errors import SettingsError
from vmnet.hooks import loading, stages
from vmnet.settings import table
from vmnet.supervision.exit_port import FORCED_STATUS

_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"(?:\./)?(?:bench|deploy|docs|guest|plugins|tests|vmnet)/[\w./*-]+|\./\w+")
_ROLE = re.compile(r":(?:mod|func|class|data|meth|exc):`~?([^`]+)`")
_VARIABLE = re.compile(r"\bVMNET_\w*[A-Z0-9]\b")
# Misspelt on purpose, or variables of example plugins.
_EXAMPLE_VARIABLES = {
    "VMNET_MEMRY",
    "VMNET_JSONDISK_SIZE",
    "VMNET_CONTRACT",
    "VMNET_REGISTRY_FILE",
}

_SOURCES = sorted(
    path
    for pattern in ("vmnet/**/*.py", "plugins/*/vmnet_*/**/*.py", "examples/*/vmnet_*/**/*.py")
    for path in ROOT.glob(pattern)
    if _ROLE.search(path.read_text())
)

every_page = pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)


def rows() -> list[table.Setting[Any]]:
    return loading.load(reference.shipped()).settings()


@pytest.mark.parametrize("page", reference.pages(), ids=pages.name)
def test_generated_parts_are_current(page: Path) -> None:
    assert page.read_text() == reference.render(page), "run `python docs/reference.py --write`"


def test_the_generator_updates_stale_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("<!-- generated: exit codes -->\nold\n<!-- end -->\nmine\n")
    monkeypatch.setattr(reference, "HERE", tmp_path)
    assert reference.main([]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main([]) == 0
    assert "out of date" in capsys.readouterr().out
    assert "| 12 | PrivilegeError |" in (tmp_path / "page.md").read_text()
    assert (tmp_path / "page.md").read_text().endswith("<!-- end -->\nmine\n")


def test_every_variable_is_in_the_reference_and_no_dhcp_is_first() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", reference.environment(), re.MULTILINE)
    assert documented[0] == "NO_DHCP"
    assert sorted(documented) == sorted(row.name for row in rows())


def test_exactly_the_existing_hooks_are_documented() -> None:
    page = (ROOT / "docs/hooks.md").read_text()
    documented = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    generated = re.findall(r"^<!-- generated: (\w+) -->$", page, re.MULTILINE)
    existing = list(stages.hooks())
    assert documented == existing
    assert generated == existing


@pytest.mark.parametrize("hook", stages.hooks())
def test_a_hook_is_documented_in_full(hook: str) -> None:
    page = (pages.ROOT / "docs/hooks.md").read_text()
    section = re.split(r"^##", page.split(f"### {hook}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    for part in ("When.", "May assume", "Errors.", "See"):
        assert f"**{part}" in section, part
    assert re.search(r"\*\*(Returns|Leaves behind|Does not return)", section)


@every_page
def test_link_targets_exist(page: Path) -> None:
    broken = [
        target
        for target in _LINK.findall(pages.prose(page))
        if not target.startswith("https://") and not _target_exists(page, target)
    ]
    assert not broken


def _target_exists(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in _anchors(file))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub generates from headings."""
    headings = re.findall(r"^#+ (.+)$", pages.prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_mentioned_paths_exist(page: Path) -> None:
    mentioned = [span.split()[0] for span in pages.spans(page)]
    for block in pages.blocks_of(page):
        if block.language == "sh":
            mentioned += re.findall(r"^\./\w+", block.text, re.MULTILINE)
    paths = {path.removeprefix("./").rstrip("/") for path in mentioned if _PATH.fullmatch(path)}
    assert not {path for path in paths if not any(ROOT.glob(path))}


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_refer_to_existing_names(path: Path) -> None:
    """A name is absolute, built in, or defined in the module or one of its classes."""
    text = path.read_text()
    top = next(part for part in path.parents if not (part.parent / "__init__.py").exists())
    module = ".".join(path.relative_to(top.parent).with_suffix("").parts).removesuffix(".__init__")
    classes = re.findall(r"^class (\w+)", text, re.MULTILINE)
    scopes = ("builtins", module, *(f"{module}.{name}" for name in classes))
    for name in set(_ROLE.findall(text)):
        assert any(map(_resolves, (name, *(f"{scope}.{name}" for scope in scopes)))), name


def _resolves(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@every_page
def test_mentioned_commands_exist(page: Path) -> None:
    code = [block.text for block in pages.blocks_of(page) if block.language in ("sh", "console")]
    mentioned = {
        word
        for text in (*code, *pages.spans(page))
        for word in re.findall(r"(?<![\w/.-])vmnet(?= ([a-z]+(?:-[a-z]+)*))", text)
    }
    assert mentioned <= {*cli.COMMANDS, "vmnet"}


def test_each_promise_about_security_names_tests_that_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    _, *tables = page.split("| promise | held by |\n| --- | --- |\n")
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()]
    assert len(rows) > 20
    for row in rows:
        tests = re.findall(r"\[(test_\w+)\]\(([^)]+)\)", row.split(" | ")[1])
        assert tests, row
        for name, path in tests:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}: {name}"


def test_the_exit_code_of_a_forced_stop_is_documented() -> None:
    assert f"| {FORCED_STATUS} | `guard: " in (ROOT / "docs" / "operations.md").read_text()


@every_page
def test_mentioned_variables_exist(page: Path) -> None:
    unknown = set()
    # Those of an example are in its sources.
    sources = "".join(path.read_text() for path in page.parent.glob("vmnet_*/*.py"))
    declared = _EXAMPLE_VARIABLES | set(_VARIABLE.findall(sources))
    for variable in set(_VARIABLE.findall(page.read_text())) - declared:
        try:
            table.parse({variable: ""}, rows())
        except SettingsError:
            unknown.add(variable)
    assert not unknown


@pytest.mark.parametrize(
    "block", pages.blocks("sh"), ids=lambda block: f"{block.page.name}:{block.line}"
)
def test_shell_examples_parse(block: Block) -> None:
    run("sh", "-n", input=block.text)


def test_yaml_examples_parse() -> None:
    for block in pages.blocks("yaml"):
        assert yaml.safe_load(block.text), f"{block.page.name}:{block.line}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("deploy/*.yaml")), ids=pages.name)
def test_deployments_set_existing_variables_to_valid_values(page: Path) -> None:
    environments = list(_environments(yaml.safe_load(page.read_text())))
    assert environments
    for environ in environments:
        table.parse(environ, rows())


def _environments(node: Any) -> Iterator[Mapping[str, str]]:
    """Find the mappings of Compose files."""
    if isinstance(node, dict) and "environment" in node:
        yield node["environment"]
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _environments(child)


@pytest.mark.parametrize(
    "example",
    [example for example in pages.examples() if example.is_offline and example.page != plugin.PAGE],
    ids=str,
)
def test_commands_print_the_documented_output(example: Example) -> None:
    example.require(_vmnet(example))


@pytest.fixture(scope="module")
def jsondisk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page's plugin. The plugin is installed in ``site`` next to the folder."""
    folder = plugin.follow(tmp_path_factory.mktemp("example"))
    plugin.install(folder, folder.parent / "site")
    return folder


@pytest.mark.parametrize(
    "example", [example for example in pages.examples() if example.page == plugin.PAGE], ids=str
)
def test_the_plugin_of_the_page_is_selected_by_name(example: Example, jsondisk: Path) -> None:
    example.require(_vmnet(example, PYTHONPATH=str(jsondisk.parent / "site")))


def test_the_plugin_of_the_page_passes_its_tests(jsondisk: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", jsondisk)
    command = (
        *(sys.executable, "-m", "pytest", *options),
        *(jsondisk / "tests", "--vmnet-plugin", "jsondisk"),
    )
    done = run(*command, env=_environ(PYTHONPATH=str(jsondisk.parent / "site")), timeout=WAIT)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 3, "the plugin's own three tests and the conformance suite"


def _vmnet(example: Example, **more: str) -> str:
    command = (sys.executable, "-m", "vmnet", *example.arguments)
    done: Completed = run(*command, env=_environ(**example.environ, **more), check=False)
    return done.stdout + done.stderr


def _environ(**more: str) -> dict[str, str]:
    return {**pages.settled_environment(), **more}
