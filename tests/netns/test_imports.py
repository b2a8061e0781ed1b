"""The file of ``vmnet precompile`` contains exactly the modules that a start imports.

A start works without the file, and without any other measure of vmnet/imports.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab import precompiling
from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import WORLD, Lan
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet, is_vm
from tests.netns.test_names import ON_LOOPBACK

# Modules that are imported before the file is read.
_FIRST = {
    "__future__",
    "importlib",
    "vmnet",
    "vmnet.__main__",
    "vmnet.imports.precompiled",
    "warnings",
}
# Most starts have a disk, unlike the starts in this test.
_DISK = ("vmnet.planning.storage.image",)
_FORWARDING = ("vmnet.net.arp", "vmnet.net.dns")
# `vmnet run` with the path of the file as first argument. A line of JSON lists the modules that
# came from sources, those that came from the file, the compiled code, and the file's modules.
_INSTRUMENTED_RUN = """
import builtins, os, sys
from importlib.machinery import SourceFileLoader
from vmnet.imports import precompiled

precompiled.PATH = sys.argv[1]
from_source, from_file, compiled = [], [], []
source_code, file_code = SourceFileLoader.get_code, precompiled._Loader.get_code
compile, execv = builtins.compile, os.execv

def record_source(self, name):
    from_source.append(name)
    return source_code(self, name)

def record_file(self, name):
    from_file.append(name)
    return file_code(self, name)

def record_compile(source, *others, **options):
    compiled.append(str(source)[:60])
    return compile(source, *others, **options)

def print_and_exec(*arguments):
    (finder,) = (f for f in sys.meta_path if isinstance(f, precompiled._Finder))
    recorded = [*finder._modules]
    import json
    line = json.dumps([from_source, from_file, compiled, recorded])
    os.write(2, f"{line}\\n".encode())  # at once: the responder writes lines, too
    execv(*arguments)

SourceFileLoader.get_code, precompiled._Loader.get_code = record_source, record_file
builtins.compile, os.execv = record_compile, print_and_exec
sys.argv = ["vmnet", "run"]
from vmnet.__main__ import main
main()
"""


@pytest.fixture
def file(vmnet: Vmnet, network: Lan, tmp_path: Path) -> Path:
    """The file, written by the command into a folder of the test."""
    path = tmp_path / "start"
    # In a station: as in the build of an image, there is no container network to capture.
    done = network.station().run(*precompiling.command(path), env=vmnet.environ)
    assert done.stdout.split("modules written to")[1].split(",")[0].strip() == str(path)
    return path


# Nothing listens on loopback, so the kernel refuses the query to the nameserver there at once.
@pytest.mark.parametrize(
    ("resolv_conf", "unused"),
    [(f"nameserver {WORLD}\n", _DISK + _FORWARDING), (ON_LOOPBACK, _DISK)],
    ids=["a nameserver on the network", "a nameserver on loopback"],
)
def test_a_start_imports_everything_from_the_file(
    network: Lan, vmnet: Vmnet, file: Path, resolv_conf: str, unused: tuple[str, ...]
) -> None:
    command = (sys.executable, "-c", _INSTRUMENTED_RUN, str(file))
    web = network.container("web", resolv_conf=resolv_conf, ipv6=True)
    with web.popen(*command, env=vmnet.environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        output = process.output()
    (line,) = (line for line in output.splitlines() if line.startswith("[["))
    from_source, from_file, compiled, recorded = json.loads(line)
    assert set(from_source) <= _FIRST
    assert {
        "vmnet.strategies.bridge.build",
        "vmnet_qemu.arguments",
        "pyroute2.netlink",
        "socket",
    } <= set(from_file)
    assert set(from_file) <= set(recorded)
    assert not [name for name in set(recorded) - set(from_file) if not name.startswith(unused)]
    assert not [code for code in compiled if code.startswith("def __init__")]


# `vmnet run` without the file, and without stand-ins for modules.
_PLAIN_RUN = """
import os, sys
from vmnet.imports import deferred, precompiled

precompiled.PATH = "/nonexistent"
deferred.put = lambda stand_in: None
execv = os.execv

def print_and_exec(*arguments):
    stand_ins = [name for name, module in sys.modules.items() if "Deferred" in str(type(module))]
    print("stand-ins:", stand_ins, file=sys.stderr, flush=True)
    execv(*arguments)

os.execv = print_and_exec
sys.argv = ["vmnet", "run"]
from vmnet.__main__ import main
main()
"""


def test_a_start_works_with_ordinary_imports(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK, ipv6=True)
    with web.popen(sys.executable, "-c", _PLAIN_RUN, env=vmnet.environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert "stand-ins: []" in process.output()
        with guest(web, "br0", web.mac) as vm:
            assert str(udhcpc(vm).address.ip) == web.address
