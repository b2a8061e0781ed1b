"""The lines that the architecture draws, held by looking at the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.interpreter import run

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "vmnet").rglob("*.py"))
PLUGINS = sorted(ROOT.glob("plugins/*/vmnet_*/**/*.py"))
PLUGINS += sorted(ROOT.glob("examples/*/vmnet_*/**/*.py"))
PLUGIN_TESTS = sorted([*ROOT.glob("plugins/*/tests/*.py"), *ROOT.glob("examples/*/tests/*.py")])
PUBLIC = ("vmnet.api", "vmnet.testing")
# A plugin's program that runs as long as the VM may import these too: they need little memory.
SMALL = (
    "vmnet.net.netlink",
    "vmnet.net.filters.cbpf",
    "vmnet.net.packet_socket",
    "vmnet.net.packets",
    "vmnet.supervision.log",
    "vmnet.supervision.process_name",
)
DELEGATES = {"auto": ("bridge", "redirect")}
SMALL_PACKAGES = ("vmnet", "vmnet.net", "vmnet.net.filters", "vmnet.supervision")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path: Path, *names: str) -> bool:
    found = (
        ast.unparse(call.func) for call in _nodes(path, ast.Call) if isinstance(call, ast.Call)
    )
    return any(call in names for call in found)


def _nodes(path: Path, kind: type[ast.AST]) -> Iterator[ast.AST]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind))


def importers(package: str, files: list[Path]) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in files
        if any(module.split(".")[0] == package for module in imports(path))
    }


FLOOR = re.compile(r"^(\d+) +(\w+)/? ", re.MULTILINE)
FLOORS = {
    room: int(floor)
    for floor, room in FLOOR.findall((ROOT / "docs" / "architecture.md").read_text())
}


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_lead_to_lower_floors(path: Path) -> None:
    """docs/architecture.md lists the rooms of the core and their floors."""
    room = path.relative_to(ROOT / "vmnet").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for module in imports(path):
        package, *rest = module.split(".")
        if package == "vmnet" and rest and rest[0] not in (room, "__version__"):
            assert FLOORS[rest[0]] < FLOORS[room], module


def test_only_net_speaks_to_pyroute2() -> None:
    assert importers("pyroute2", CORE + PLUGINS) == {"vmnet/net/codec.py"}


def test_the_doors_to_child_processes() -> None:
    """A start has one module that creates processes. So have the helpers that run as long as the
    VM, which import nothing of a start, and the demonstration.
    """
    assert importers("subprocess", CORE + PLUGINS) == {"vmnet/demo/programs.py"}
    assert not [path for path in CORE + PLUGINS if calls(path, "os.system", "os.popen")]
    spawning = [path.name for path in CORE + PLUGINS if calls(path, "os.posix_spawn")]
    assert sorted(spawning) == ["process.py", "spawning.py"]


def test_only_main_exits() -> None:
    exits = ("sys.exit", "os._exit", "exit", "quit")
    exiting = [path for path in CORE + PLUGINS if calls(path, *exits)]
    # The responder's parent ends by _exit (daemon(7)); so do the forks of a conformance test and of
    # the programs that start passt and swtpm. The exporter reports that it can't listen.
    assert {str(path.relative_to(ROOT)) for path in exiting} <= {
        "vmnet/__main__.py",
        "vmnet/testing/conformance/allocation.py",
        "vmnet/strategies/passt/launcher.py",
        "vmnet/supervision/exporter.py",
        "vmnet/supervision/swtpm.py",
        "plugins/dnsmasq/vmnet_dnsmasq/responder/daemon.py",
    }


def test_only_the_facade_and_the_markers_touch_pluggy() -> None:
    assert importers("pluggy", CORE + PLUGINS) == {
        "vmnet/hooks/loading.py",
        "vmnet/hookspecs/markers.py",
    }


def test_only_the_kit_needs_pytest() -> None:
    """Which is no dependency of vmnet, and nothing of a start imports the kit; a rehearsal may."""
    needing = {"vmnet/pytest_plugin.py", "vmnet/testing/conformance"}
    importing = importers("pytest", CORE + PLUGINS)
    assert {re.sub(r"(/conformance)/\w+\.py", r"\1", path) for path in importing} == needing
    kit = {str(path.relative_to(ROOT)) for path in CORE if _imports_kit(path)}
    assert {path for path in kit if not path.startswith("vmnet/testing/")} == {
        "vmnet/pytest_plugin.py",
        "vmnet/rehearsal.py",
    }


def _imports_kit(path: Path) -> bool:
    return any(module.split(".")[:2] == ["vmnet", "testing"] for module in imports(path))


def test_the_core_imports_no_plugin() -> None:
    assert not [
        f"{path}: {module}"
        for path in CORE
        for module in imports(path)
        if module.startswith("vmnet_")
    ]


@pytest.mark.parametrize(
    "path", PLUGINS + PLUGIN_TESTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_plugins_import_only_public_names(path: Path) -> None:
    allowed = tuple(f"{name}." for name in (*PUBLIC, *SMALL))
    for module in imports(path):
        if module.partition(".")[0] == "vmnet" and module not in SMALL_PACKAGES:
            assert f"{module}.".startswith(allowed), module


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_never_import_each_other(path: Path) -> None:
    own = next(part for part in path.parts if part.startswith("vmnet_"))
    packages = {module.partition(".")[0] for module in imports(path)}
    assert {package for package in packages if package.startswith("vmnet_")} <= {own}


def test_the_small_modules_are_documented() -> None:
    page = (ROOT / "docs/api.md").read_text()
    assert not [module for module in SMALL if f"`{module}`" not in page]


@pytest.mark.parametrize("strategy", ["netns", "bridge", "redirect", "auto"])
def test_a_built_in_strategy_needs_no_more_than_other_plugins(strategy: str) -> None:
    """It is the example for strategies of its stage, so it imports only the public interface.

    The strategies with a tap share the plan of their ports.
    """
    for path in sorted((ROOT / "vmnet/strategies" / strategy).glob("*.py")):
        own = {name for name in imports(path) if name.startswith("vmnet.")}
        rooms = (strategy, "ports", *DELEGATES.get(strategy, ()))
        public = ("vmnet.api", *(f"vmnet.strategies.{room}" for room in rooms))
        assert not {name for name in own if not name.startswith(public)}, path


def test_small_modules_import_next_to_nothing() -> None:
    program = (
        "import sys, __future__, array, select, socket, struct, time; before = set(sys.modules)\n"
        f"import {', '.join(SMALL)}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert set(run(program, "-S", path=ROOT).split()) == {*SMALL, *SMALL_PACKAGES}


def test_a_start_imports_only_what_it_needs() -> None:
    """``vmnet run`` up to the end of planning, which fails here for want of something to boot."""
    program = (
        "import sys; from vmnet import cli\n"
        "from vmnet.errors import VmnetError\n"
        "try: cli.main(['run'], {'VMNET_DEMO': '/nonexistent'})\n"
        "except VmnetError: pass\n"
        "from vmnet.strategies.netns import capture; from vmnet.strategies.bridge import build\n"
        "import vmnet_dnsmasq.service, vmnet_qemu.arguments\n"
        "print(*sys.modules)"
    )
    heavy = {"argparse", "asyncio", "cattrs", "email", "importlib.metadata", "jinja2", "pycdlib"}
    heavy |= {"subprocess", "tempfile", "yaml", "hashlib", "pyroute2.iproute", "difflib"}
    assert not heavy & set(run(program).split())


def test_a_health_check_imports_only_what_it_needs() -> None:
    """An engine gives it a second or so, of which the queries take a third."""
    program = (
        "import sys; from vmnet import cli\n"
        "cli.main(['health'], {'VMNET_RUN_DIR': '/nonexistent'})\n"
        "print(*sys.modules)"
    )
    heavy = {"asyncio", "cattrs", "pluggy", "subprocess", "vmnet.model.wiring"}
    assert not heavy & set(run(program).split())
