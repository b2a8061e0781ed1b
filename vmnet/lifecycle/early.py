"""Stop signals that arrive before a start has handlers for them.

The kernel drops a signal to PID 1 that has no handler, unless it is blocked (``sig_ignored()`` in
kernel/signal.c): then it stays pending. So a start blocks the stop signals first and unblocks them
with the handlers in place. The image's script begins earlier, before Python is up: env(1) blocks
them and executes Python, which inherits the mask.
"""

from __future__ import annotations

import signal

from vmnet.errors import InterruptedStartError
from vmnet.lifecycle.beside import STOP_SIGNALS

# The stop signals that have come. Their handler's exception is lost where Python can't raise it, in
# a callback of its own for one: "Exception ignored in".
_come: list[int] = []


def note(number: int) -> None:
    """Remember a stop signal until it has ended the start."""
    _come.append(number)


def hold() -> None:
    """Keep stop signals pending from here on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def deliver() -> None:
    """Have pending stop signals delivered, and each later one at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def refuse_pending() -> None:
    """End a start that has been told to stop, before it boots a guest that would be killed.

    :raises InterruptedStartError: a stop signal has come, or is blocked and pending
    """
    if _come:
        raise InterruptedStartError(_come[0])
    pending = signal.sigpending()
    for number in STOP_SIGNALS:
        if number in pending:
            raise InterruptedStartError(number)
