"""A network namespace that other programs use, as with ``docker run --network container:NAME``."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.lab.command import Process
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import web_server
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, hypervisor

_RESTORES = "the network is put back when the VM ends"


@contextmanager
def supervised(vmnet: Vmnet, web: Namespace, **settings: str) -> Iterator[Process]:
    """Run a VM whose hypervisor is not PID 1."""
    with web.popen(*VMNET, "run", env={**vmnet.environ, **settings}, pid=True) as process:

        def runs() -> bool:
            process.require_running()
            return bool(web.pids_of("hypervisor"))

        until(runs, WAIT, "vmnet to start the VM", detail=process.output)
        assert hypervisor(web) != process.pid
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_other_container_gets_its_network_back(
    network: Lan, vmnet: Vmnet, number: signal.Signals
) -> None:
    """The VM may power off or crash."""
    web, station = network.container("web"), network.station()
    before = web.dump()
    with web_server(web):
        with supervised(vmnet, web) as process:
            os.kill(hypervisor(web), number)
            assert process.wait() == (0 if number == signal.SIGTERM else 137)
            assert process.output().count(_RESTORES) == 1
        page = station.run("wget", "-q", "-T5", "-O-", f"http://{web.address}/")
        assert page.stdout == "hello\n"
        require_same(before, web.dump())
    assert not web.pids(), "the helpers end with the VM"


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "found"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, 0, ""),  # neither bound nor connected
        (socket.AF_UNIX, socket.SOCK_DGRAM, 0, "a Unix socket"),
        (socket.AF_PACKET, socket.SOCK_RAW, 0, "a packet socket"),
        (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP, "a raw socket"),
        (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP, "a raw socket"),
        (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE, ""),  # as dockerd's
    ],
)
def test_a_program_of_another_container_is_found_by_its_socket(
    network: Lan, vmnet: Vmnet, family: int, kind: int, protocol: int, found: str
) -> None:
    web = network.container("web")
    before = web.dump()
    with ExitStack() as stack:
        with web.entered():
            stack.enter_context(socket.socket(family, kind, protocol))
        if not found:
            stack.enter_context(vmnet.running(web))
            return
        process = stack.enter_context(supervised(vmnet, web))
        os.kill(hypervisor(web), signal.SIGTERM)
        assert process.wait() == 0
        assert f"use this network namespace ({found}), and have no network" in process.output()
        require_same(before, web.dump())


def test_sockets_of_the_container_s_own_programs_do_not_count(network: Lan, vmnet: Vmnet) -> None:
    """The image's entry point may be a program that supervises vmnet."""
    own = (
        "import socket, subprocess, sys; kept = socket.socketpair()\n"
        "raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
        "sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    )
    web = network.container("web")
    environ = {**vmnet.environ, "VMNET_QEMU": "/bin/true"}
    command = (sys.executable, "-c", own, *VMNET, "run")
    done = web.run(*command, env=environ, check=False, pid=True)
    assert "the guest gets MAC" in done.stderr
    assert "use this network namespace" not in done.stderr


def test_a_visible_process_of_another_container_is_found(network: Lan, vmnet: Vmnet) -> None:
    """Without a PID namespace of its own, vmnet sees the others', as in a pod that shares it."""
    web = network.container("web")
    idle = ("unshare", "--mount", "sleep", "600")
    with web.popen(*idle) as other:
        until(lambda: web.pids_of("sleep"), WAIT, "the other container", detail=other.output)
        environ = {**vmnet.environ, "VMNET_QEMU": "/bin/true"}
        done = web.run(*VMNET, "run", env=environ, check=False)
    assert "use this network namespace (a process of another container)" in done.stderr


def test_the_network_is_put_back_if_a_setting_says_so(network: Lan, vmnet: Vmnet) -> None:
    """An idle program without a socket in another PID namespace is not found."""
    web = network.container("web")
    before = web.dump()
    with supervised(vmnet, web, VMNET_RESTORE_NETWORK="on") as process:
        os.kill(hypervisor(web), signal.SIGTERM)
        assert process.wait() == 0
    require_same(before, web.dump())


def test_a_setting_keeps_the_hypervisor_pid_1(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with web_server(web), vmnet.running(web, VMNET_RESTORE_NETWORK="off") as process:
        assert hypervisor(web) == process.pid
        assert _RESTORES not in process.output()
