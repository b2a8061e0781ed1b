"""Start programs from the guard and the keeper."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # mypy accepts this too; the typing module would stay in memory
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def spawn(
    argv: Sequence[str],
    streams: Iterable[int] = (1,),
    *,
    masked: Iterable[int] = (),
    kept: Iterable[int] = (),
    session: bool = False,
    output: int | None = None,
) -> int:
    """Start a program and return its PID.

    :param streams: descriptors of the program that become copies of our standard error
    :param masked: signals that are blocked in the program
    :param kept: descriptors that it inherits under the same numbers
    :param session: whether it leads a new session
    :param output: the descriptor of its standard output; its standard error is then discarded
    :raises OSError: it can't be executed
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        *((os.POSIX_SPAWN_DUP2, 2, number) for number in streams),
        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in kept),
    ]
    if output is not None:
        actions += [
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
    words = list(argv)
    return os.posix_spawn(
        words[0], words, os.environ, file_actions=actions, setsigmask=masked, setsid=session
    )


def set_uninheritable(fds: Iterable[int]) -> None:
    """Make descriptors close in the programs that we start."""
    for fd in fds:
        os.set_inheritable(fd, False)
