"""Run vmnet in a network namespace, with a program that waits instead of QEMU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from attrs import frozen

from tests.lab import waiting_vm
from tests.lab.command import Completed, Process
from tests.lab.folders import open_to_readers
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until

VMNET = (sys.executable, "-m", "vmnet")


@frozen
class Vmnet:
    """Runs vmnet's commands in a container's namespace, with settings for the test."""

    run_dir: Path
    environ: Mapping[str, str]

    def __call__(self, container: Namespace, *arguments: str, **settings: str) -> Completed:
        """Run a command until it exits; accept any exit status."""
        assignments = [f"{name}={value}" for name, value in settings.items()]
        return container.run(
            *("env", *assignments, *VMNET, *arguments), env=self.environ, check=False, pid=True
        )

    @contextmanager
    def running(self, container: Namespace, **settings: str) -> Iterator[Process]:
        """Run ``vmnet run`` and wait for its exec; end the VM with the context."""
        environ = {**self.environ, **settings}
        with container.popen(*VMNET, "run", env=environ, pid=True) as process:
            until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
            yield process


def bridge_address(container: Namespace) -> IPv4Interface:
    """Wait until the bridge has taken an address of the subnet, and return it."""

    def spare() -> IPv4Interface | None:
        found = (
            IPv4Interface(f"{address['local']}/{address['prefixlen']}")
            for address in container.addresses("br0")
            if address["family"] == "inet"
        )
        return next((own for own in found if not own.ip.is_link_local), None)

    return until(spare, WAIT, "an address of the bridge")


def is_vm(process: Process) -> bool:
    """Whether vmnet has executed the program that replaces QEMU, and it waits."""
    process.require_running()
    return waiting_vm.waits(process.pid)


def hypervisor(container: Namespace) -> int:
    """Return the process ID of the program that replaces QEMU."""

    def single() -> list[int] | None:
        found = container.pids_of("hypervisor")
        # The child has the same name until it executes sleep(1).
        return found if len(found) == 1 and waiting_vm.waits(*found) else None

    (found,) = until(single, WAIT, "the program that replaces QEMU")
    return found


@pytest.fixture
def network() -> Iterator[Lan]:
    """A LAN with both address families."""
    with lan(ipv6=True) as made:
        yield made


@pytest.fixture
def vmnet(tmp_path: Path) -> Vmnet:
    hypervisor = waiting_vm.write(tmp_path)
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"")
    # dnsmasq must reach its files after it has given up root.
    open_to_readers(tmp_path)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VMNET_")}
    return Vmnet(
        tmp_path / "run",
        {
            **inherited,
            "VMNET_RUN_DIR": str(tmp_path / "run"),
            "VMNET_DISK_STATE": str(tmp_path / "state"),
            "VMNET_QEMU": str(hypervisor),
            "VMNET_KERNEL": str(kernel),
            "VMNET_GUARD": "off",
            "VMNET_HOTPLUG": "0",  # the program that waits has no control socket
        },
    )


@pytest.fixture(params=["bridge", "redirect", "macvlan"])
def strategy(request: pytest.FixtureRequest) -> str:
    """The bridge strategy for a veth, or a macvlan, for which ``auto`` chooses ``redirect``."""
    return str(request.param)


@pytest.fixture
def kind(strategy: str) -> str:
    """The kind of the container's interface."""
    return "macvlan" if strategy == "macvlan" else "veth"


@pytest.fixture
def chosen(strategy: str) -> dict[str, str]:
    """The setting that selects the strategy."""
    return {} if strategy == "macvlan" else {"VMNET_BRIDGE": strategy}


@pytest.fixture
def web(network: Lan, kind: str) -> Namespace:
    """A container whose engine allows IPv6 on new interfaces."""
    made = network.container("web", ipv6=True, kind=kind)
    made.sysctl(net__ipv6__conf__default__disable_ipv6=0)
    return made
