"""Other programs in the container's network namespace, such as the sidecars of a pod."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.netns.conftest import Vmnet


@contextmanager
def listening(where: Namespace, *sockets: tuple[socket.SocketKind, str, int]) -> Iterator[None]:
    with ExitStack() as stack:
        with where.entered():
            for kind, address, port in sockets:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                made = stack.enter_context(socket.socket(family, kind))
                made.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    made.listen()
        yield


def test_programs_that_a_start_cuts_off_are_named_once(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    opened = ((tcp, "0.0.0.0", 8080), (tcp, "::", 9090), (udp, web.address, 5000))
    with (
        listening(web, *opened),
        vmnet.running(web, VMNET_RESTORE_NETWORK="off") as process,
    ):
        warned = [line for line in process.output().splitlines() if "other programs" in line]
    assert len(warned) == 1
    assert "(TCP port 8080, TCP port 9090, UDP port 5000)" in warned[0]
    assert "the guest has the addresses of eth0" in warned[0]


def test_programs_on_loopback_keep_their_network(network: Lan, vmnet: Vmnet) -> None:
    """Docker's nameserver is one."""
    web = network.container("web", ipv6=True)
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    opened = ((tcp, "127.0.0.11", 8080), (udp, "127.0.0.11", 53), (tcp, "::1", 9090))
    with listening(web, *opened):
        plan = vmnet(web, "plan")
    assert plan.returncode == 0, plan.stderr
    assert "other programs" not in plan.stderr
