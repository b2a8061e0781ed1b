"""Ping from a namespace, however late the answers are."""

from __future__ import annotations

import re

from ..command import Argument
from ..wait import WAIT, until
from .namespace import Namespace


def require_every_answer(
    sender: Namespace, address: str, *options: Argument, count: int, interval: float = 0.2
) -> None:
    """Send *count* packets, and fail unless each is answered.

    With ``-c`` alone, ping(8) awaits the last answers for only two of the longest round trips so
    far. With ``-w`` it awaits them as long as it may run, but sends further packets meanwhile.
    """
    sent = ("ping", f"-c{count}", f"-i{interval}", f"-w{WAIT // 2}", *options, address)
    output = sender.run(*sent, check=False).stdout
    answered = {int(number) for number in re.findall(r"bytes from .* icmp_seq=(\d+) ", output)}
    lost = [number for number in range(1, count + 1) if number not in answered]
    assert not lost, f"packets without an answer: {lost}\n{output}"


def await_answer(sender: Namespace, address: str) -> None:
    """Wait until an address answers."""
    sent = ("ping", "-c1", "-W5", address)
    until(
        lambda: sender.run(*sent, check=False).returncode == 0,
        WAIT,
        f"{address} to answer {sender.name}",
        interval=0.5,
    )
