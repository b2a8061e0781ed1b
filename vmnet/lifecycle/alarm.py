"""An alarm that rings in the guard when a signal arrives at the process that becomes QEMU.

A signalfd tells only the signals of whoever reads it. But epoll hangs its waiting on the process
that *adds* the signalfd (signalfd(2), "epoll(7) semantics"), and on nothing that an exec replaces.
So we add one here, in the process that becomes PID 1, and the guard inherits both: a signal to that
process wakes the guard. The kernel then asks once more whether there is a signal to report, now for
the guard itself; so the guard keeps one of the mask pending for itself for ever
(:data:`vmnet.lifecycle.beside.BELL`). Edge-triggered, so that this one alone wakes nobody.

That much rests on how the kernel does it, so the alarm proves itself: one BELL to ourselves, taken
back at once, is the first ring the guard hears. A guard that hears none looks at /proc instead.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet.lifecycle import beside

_SFD_CLOEXEC = os.O_CLOEXEC
_SIGSET_BYTES = 128  # sigset_t of glibc and musl


@contextmanager
def hung_up() -> Iterator[tuple[int, ...]]:
    """The alarm's descriptors, the guard's own first; none where the kernel gives none.

    Children of the context inherit them.

    The stop signals must be blocked.

    :raises OSError: the kernel refused a step
    """
    import ctypes  # posix has no signalfd; only where there is a guard

    libc = ctypes.CDLL(None)
    mask = sum(1 << (number - 1) for number in (*beside.STOP_SIGNALS, beside.BELL))
    words = mask.to_bytes(8, "little").ljust(_SIGSET_BYTES, b"\0")
    signals = libc.signalfd(-1, words, _SFD_CLOEXEC)
    if signals < 0:
        yield ()
        return
    try:
        with select.epoll() as alarm:
            alarm.register(signals, select.EPOLLIN | select.EPOLLET)
            _ring()
            # The guard needs the signalfd only to be open.
            both = (alarm.fileno(), signals)
            for fd in both:
                os.set_inheritable(fd, True)
            yield both
    finally:
        os.close(signals)


def _ring() -> None:
    """To this thread and not to the process: another thread may not have it blocked, and end us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (beside.BELL,))
    signal.pthread_kill(_thread.get_ident(), beside.BELL)
    signal.sigwait((beside.BELL,))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
