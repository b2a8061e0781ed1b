"""A real ``vmnet demo``: the README's first command must work, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.command import Process, background
from tests.lab.wait import WAIT, until

pytestmark = pytest.mark.vm


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment with the built guest: ./test sets VMNET_DEMO to its folder."""
    folder = os.environ.get("VMNET_DEMO")
    if not folder:
        pytest.skip("VMNET_DEMO names no guest: make one with guest/build FOLDER")
    return {"PATH": os.environ["PATH"], "VMNET_DEMO": folder}


@contextmanager
def demo(environ: Mapping[str, str], *options: str) -> Iterator[Process]:
    """Run a demonstration. It must leave no namespace behind, however it ends."""
    with background(sys.executable, "-m", "vmnet", "demo", *options, env=environ) as process:
        yield process
    assert not traces(process.pid)


def traces(pid: int) -> list[Path]:
    """Return the files of a demonstration's namespaces, whose names contain its process id."""
    return [
        path
        for folder in (Path("/run/netns"), Path("/etc/netns"))
        for end in ("", "-*")  # but not more digits, which are of another demonstration
        for path in folder.glob(f"vmnet-demo-{pid}{end}")
    ]


def test_the_guest_takes_the_containers_identity(environ: dict[str, str]) -> None:
    with demo(environ, "--json") as process:
        assert process.wait(240) == 0, process.output()
        facts = json.loads(process.output())
    container = facts["container"]
    assert container["address"] == "172.31.0.2/16"
    assert facts["visit"]["guest"] == container
    assert facts["visit"]["title"].startswith(container["hostname"])
    assert facts["takeover"]["pid1"].startswith("qemu-system-")
    assert facts["takeover"]["ports"] == ["eth0", "tap0"]
    assert facts["takeover"]["left"] == []
    assert container["mac"] in "\n".join(facts["takeover"]["log"])
    assert facts["end"]["status"] == 0


def test_it_prints_what_happens(environ: dict[str, str]) -> None:
    with demo(environ) as process:
        assert process.wait(240) == 0, process.output()
        output = process.output()
    assert [line for line in output.splitlines() if line[:1].isdigit()] == [
        "1. A container on the network, as Docker lays it out",
        "2. vmnet takes it over: `vmnet run` is the container's entry point",
        "3. The container keeps no address: its identity is for the guest",
        "4. The guest boots",
        "5. The host reaches the guest at the container's address",
        "6. `docker stop`: SIGTERM to PID 1",
    ]
    assert "\033" not in output, "colours are for terminals"
    assert "vmnet-guest: power button, shutting down" in output
    assert output.splitlines()[-1].startswith("the demo succeeded in ")


def test_a_failure_is_reported_with_the_entry_points_error(environ: dict[str, str]) -> None:
    with demo(environ | {"VMNET_DEMO": "/nonexistent"}) as process:
        assert process.wait(WAIT) == 1
        output = process.output()
    assert "no demonstration Linux in /nonexistent" in output
    assert output.splitlines()[-1] == "vmnet: error: the machine ended before QEMU is PID 1"


def test_an_interrupted_demo_cleans_up(environ: dict[str, str]) -> None:
    with demo(environ) as process:
        until(lambda: "4. The guest boots" in process.output(), WAIT, "QEMU", detail=process.output)
        assert traces(process.pid)
        process.signal(signal.SIGTERM)
        assert process.wait() == 130
        assert process.output().splitlines()[-1] == "interrupted; everything is cleaned up"
