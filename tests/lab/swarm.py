"""A Swarm on one machine: each node an engine in a network namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from .command import Argument, Completed
from .engine import Container, Engine, own_engine
from .namespace import Namespace
from .netns import lan
from .progress import step
from .wait import until

_SERVICE = "com.docker.swarm.service.name"


@frozen
class Node:
    """One of its machines."""

    engine: Engine
    machine: Namespace
    id: str


@frozen
class Swarm:
    """All nodes, the manager first."""

    nodes: tuple[Node, ...]

    def docker(self, *argv: Argument, timeout: float = 60) -> Completed:
        """A docker command on the manager."""
        return self.nodes[0].engine.docker(*argv, timeout=timeout)

    def service(self, name: str, node: Node, image: str, options: Sequence[str]) -> Container:
        """``docker service create`` of one task on a node; its container, once it runs."""
        self.docker(
            *("service", "create", "--detach", "--no-resolve-image", "--name", name),
            *("--constraint", f"node.id=={node.id}", *options, image),
        )

        def found() -> str:
            mine = ("--filter", f"label={_SERVICE}={name}", "--filter", "status=running")
            return node.engine.docker("ps", "-q", "--no-trunc", *mine).stdout.strip()

        tasks = ("service", "ps", "--no-trunc", name)
        identifier = until(found, 60, "its task to run", detail=lambda: self.docker(*tasks).stdout)
        return Container(node.engine, identifier)

    def overlay(self, name: str, subnet: str) -> str:
        """An overlay network to which plain containers may attach as well; it ends with us."""
        made = ("create", "--driver", "overlay", "--attachable", "--subnet", subnet)
        self.docker("network", *made, name)
        return name


@contextmanager
def swarm(images: Path, count: int = 2) -> Iterator[Swarm]:
    """
    Engines that are a Swarm, on a LAN of their own, while the context lasts.

    :param images: what ``docker save`` has written, to be loaded on each node
    """
    with ExitStack() as stack:
        network = stack.enter_context(lan(6))
        nodes: list[Node] = []
        for number in range(count):
            machine = network.station(f"node{number}")
            engine = stack.enter_context(own_engine(machine))
            with step("docker load"):
                engine.docker("load", "-i", images, timeout=300)
            if nodes:
                token = nodes[0].engine.docker("swarm", "join-token", "-q", "worker").stdout.strip()
                engine.docker("swarm", "join", "--token", token, nodes[0].machine.address)
            else:
                own = ("--advertise-addr", machine.address)
                engine.docker("swarm", "init", *own, timeout=90)
            info = engine.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
            nodes.append(Node(engine, machine, info))
        yield Swarm(tuple(nodes))
