"""Run a Swarm on one machine. Each node is an engine in its own network namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen

from ..command import Argument, Completed
from ..net.lan import lan
from ..net.namespace import Namespace
from ..progress import step
from ..wait import WAIT, until
from .docker import Container, Engine, own_engine

_SERVICE = "com.docker.swarm.service.name"


@frozen
class Node:
    """A machine of the Swarm."""

    engine: Engine
    machine: Namespace
    id: str


@frozen
class Swarm:
    """A Swarm. Its first node is the manager."""

    nodes: tuple[Node, ...]

    def docker(self, *argv: Argument, timeout: float = WAIT) -> Completed:
        """Run a docker command on the manager."""
        return self.nodes[0].engine.docker(*argv, timeout=timeout)

    def service(self, name: str, node: Node, image: str, options: Sequence[str]) -> Container:
        """Create a service with one task on a node, and return the running container."""
        self.docker(
            *("service", "create", "--detach", "--no-resolve-image", "--name", name),
            *("--constraint", f"node.id=={node.id}", *options, image),
        )

        def running() -> str:
            filters = ("--filter", f"label={_SERVICE}={name}", "--filter", "status=running")
            return node.engine.docker("ps", "-q", "--no-trunc", *filters).stdout.strip()

        tasks = ("service", "ps", "--no-trunc", name)
        container = until(
            running, WAIT, "the task to run", detail=lambda: self.docker(*tasks).stdout
        )
        return Container(node.engine, container)

    def overlay(self, name: str, subnet: str) -> str:
        """Create an overlay network, to which plain containers may attach, until the Swarm ends."""
        options = ("--driver", "overlay", "--attachable", "--subnet", subnet)
        self.docker("network", "create", *options, name)
        return name


def _join(engine: Engine, token: str, manager: str) -> None:
    # After 20 seconds, the command fails, and the engine goes on in the background.
    joined = engine.docker("swarm", "join", "--token", token, manager, check=False)
    state = partial(engine.docker, "info", "--format", "{{.Swarm.LocalNodeState}}")
    until(
        lambda: state().stdout.strip() == "active",
        WAIT,
        "the node to join the Swarm",
        detail=lambda: joined.stderr + state().stdout,
    )


@contextmanager
def swarm(images: Path, count: int = 2) -> Iterator[Swarm]:
    """
    Run the engines of a Swarm on a separate LAN until the context exits.

    :param images: a file of ``docker save`` that each node loads
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
                _join(engine, token, nodes[0].machine.address)
            else:
                engine.docker("swarm", "init", "--advertise-addr", machine.address, timeout=WAIT)
            node_id = engine.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
            nodes.append(Node(engine, machine, node_id))
        yield Swarm(tuple(nodes))
