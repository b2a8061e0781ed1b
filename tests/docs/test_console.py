"""Commands that the documentation shows, run in a container's network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs import pages, plugin
from tests.docs.pages import Example
from tests.lab.folders import open_to_readers
from tests.lab.netns import lan


@pytest.mark.parametrize(
    "example",
    # Those of the page that makes a plugin run where it is installed: tests/unit/test_docs.py.
    [one for one in pages.examples() if not one.is_offline and one.page != plugin.PAGE],
    ids=str,
)
def test_commands_print_what_is_shown(example: Example, tmp_path: Path) -> None:
    demo, run_dir = tmp_path / "demo", tmp_path / "run"
    demo.mkdir()
    open_to_readers(tmp_path)  # as in an image: QEMU is not root
    for name in ("vmlinuz", "initrd"):
        (demo / name).touch()
    environ = {**pages.settled_environment(), "VMNET_DEMO": demo, "VMNET_RUN_DIR": run_dir}
    own = [f"{name}={value}" for name, value in {**environ, **example.environ}.items()]
    with lan() as network:
        done = network.container("web").run(
            "env", "-i", *own, sys.executable, "-m", "vmnet", *example.arguments, check=False
        )
    said = done.stdout + done.stderr
    said = said.replace(str(demo), "/usr/share/vmnet/demo").replace(str(run_dir), "/run/vmnet")
    example.require(said)
