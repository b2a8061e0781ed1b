"""Stop signals during a start.

The kernel drops a signal to PID 1 without a handler, unless the signal is blocked; then it stays
pending (``sig_ignored()`` in kernel/signal.c). So a start blocks the stop signals first, and
unblocks them when it has installed the handlers. The image's script blocks them even before Python
starts: env(1) executes Python, which inherits the mask.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from vmnet.errors import InterruptedStartError
from vmnet.supervision.signals import STOP_SIGNALS

# The stop signals that have arrived. Python discards the handler's exception where it can't raise
# it, for example in a weakref callback ("Exception ignored in").
_arrived: list[int] = []


def hold() -> None:
    """Block the stop signals, so that they stay pending."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def deliver() -> None:
    """Unblock the stop signals: the kernel delivers pending and later ones at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def interruptible() -> None:
    """Make stop signals, pending ones included, raise InterruptedStartError."""
    _handle(_interrupt)
    deliver()


def ignore() -> None:
    """Ignore stop signals from now on."""
    _handle(signal.SIG_IGN)


def refuse_pending() -> None:
    """End a start that a stop signal has reached, before it boots a guest.

    :raises InterruptedStartError: a stop signal has arrived, or is blocked and pending
    """
    if _arrived:
        raise InterruptedStartError(_arrived[0])
    pending = signal.sigpending()
    for number in STOP_SIGNALS:
        if number in pending:
            raise InterruptedStartError(number)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _arrived.append(number)
    raise InterruptedStartError(number)
