"""``vmnet precompile``: its file holds what a start imports, all of it and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab import precompiling
from tests.lab.netns import WORLD, Lan
from tests.lab.wait import until
from tests.netns.conftest import Vmnet, is_vm
from tests.netns.test_names import ON_LOOPBACK

# What has to be there before there is a file to import from.
_FIRST = {
    "__future__",
    "importlib",
    "vmnet",
    "vmnet.__main__",
    "vmnet.imports.precompiled",
    "warnings",
}
# Most starts have a disk, unlike those here.
_DISK = ("vmnet.planning.image",)
_FORWARDING = ("vmnet.net.arp", "vmnet.net.dns")
# `vmnet run` with the file named first; its last line tells where its modules came from.
_WATCHED = """
import builtins, os, sys
from importlib.machinery import SourceFileLoader
from vmnet.imports import precompiled

precompiled.PATH = sys.argv[1]
searched, found, compiled = [], [], []
get_code, known_code = SourceFileLoader.get_code, precompiled._Loader.get_code
compile, execv = builtins.compile, os.execv

def note_search(self, name):
    searched.append(name)
    return get_code(self, name)

def note_find(self, name):
    found.append(name)
    return known_code(self, name)

def note_compile(source, *others, **named):
    compiled.append(str(source)[:60])
    return compile(source, *others, **named)

def note_exec(*arguments):
    (finder,) = (one for one in sys.meta_path if isinstance(one, precompiled._Finder))
    held = [*finder._modules]
    import json
    print(json.dumps([searched, found, compiled, held]), file=sys.stderr, flush=True)
    execv(*arguments)

SourceFileLoader.get_code, precompiled._Loader.get_code = note_search, note_find
builtins.compile, os.execv = note_compile, note_exec
sys.argv = ["vmnet", "run"]
from vmnet.__main__ import main
main()
"""


@pytest.fixture
def file(vmnet: Vmnet, network: Lan, tmp_path: Path) -> Path:
    """The file, made by the command itself, but not beside the vmnet under test."""
    made = tmp_path / "start"
    # Without a network, as in the build of an image.
    said = network.station().run(*precompiling.command(made), env=vmnet.environ)
    assert said.stdout.split("modules written to")[1].split(",")[0].strip() == str(made)
    return made


# Nothing listens on loopback, so the question to the nameserver there is refused at once.
@pytest.mark.parametrize(
    ("resolv_conf", "unused"),
    [(f"nameserver {WORLD}\n", _DISK + _FORWARDING), (ON_LOOPBACK, _DISK)],
    ids=["a nameserver on the network", "a nameserver on loopback"],
)
def test_a_start_imports_all_from_the_file(
    network: Lan, vmnet: Vmnet, file: Path, resolv_conf: str, unused: tuple[str, ...]
) -> None:
    command = (sys.executable, "-c", _WATCHED, str(file))
    web = network.container("web", resolv_conf=resolv_conf, ipv6=True)
    with web.popen(*command, env=vmnet.environ, pid=True) as process:
        until(lambda: is_vm(process), 15, "vmnet to become the VM", detail=process.output)
        said = process.output()
    searched, found, compiled, held = json.loads(said.splitlines()[-1])
    assert set(searched) <= _FIRST
    assert {
        "vmnet.strategies.bridge.build",
        "vmnet_qemu.arguments",
        "pyroute2.netlink",
        "socket",
    } <= set(found)
    assert set(found) <= set(held)
    assert not [one for one in set(held) - set(found) if not one.startswith(unused)]
    assert not [one for one in compiled if one.startswith("def __init__")]
