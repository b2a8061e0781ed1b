"""Commands in the documentation print the documented output in a container's network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs import pages, plugin
from tests.docs.pages import Example
from tests.lab.folders import open_to_readers
from tests.lab.net.lan import lan


@pytest.mark.parametrize(
    "example",
    # tests/unit/test_docs.py runs the examples of the plugin page, with that plugin installed.
    [
        example
        for example in pages.examples()
        if not example.is_offline and example.page != plugin.PAGE
    ],
    ids=str,
)
def test_commands_print_the_documented_output(example: Example, tmp_path: Path) -> None:
    demo, run_dir = tmp_path / "demo", tmp_path / "run"
    demo.mkdir()
    open_to_readers(tmp_path)  # QEMU is not root
    for name in ("vmlinuz", "initrd"):
        (demo / name).touch()
    environ = {**pages.settled_environment(), "VMNET_DEMO": demo, "VMNET_RUN_DIR": run_dir}
    variables = [f"{name}={value}" for name, value in {**environ, **example.environ}.items()]
    with lan() as network:
        command = ("env", "-i", *variables, sys.executable, "-m", "vmnet", *example.arguments)
        done = network.container("web").run(*command, check=False)
    output = done.stdout + done.stderr
    output = output.replace(str(demo), "/usr/share/vmnet/demo").replace(str(run_dir), "/run/vmnet")
    example.require(output)
