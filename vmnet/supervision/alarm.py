"""An epoll instance that wakes the guard when a signal arrives at the process that becomes QEMU.

A signalfd reports only the signals of the process that reads it. But epoll waits on behalf of the
process that *adds* the signalfd (signalfd(2), "epoll(7) semantics"), also after an exec. So the
start, which becomes PID 1, adds the signalfd, and the guard inherits both descriptors: a signal to
PID 1 wakes the guard. The kernel then checks once more whether a signal is pending, this time for
the guard. So the guard always keeps one signal of the mask pending for itself
(:data:`vmnet.supervision.signals.ALARM_SIGNAL`). The registration is edge-triggered, so this
pending signal alone does not wake the guard.

This depends on the kernel's implementation, so the alarm tests itself: the start sends itself the
signal and takes it back, which is the first event for the guard. A guard without this event polls
/proc instead.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet.supervision.signals import ALARM_SIGNAL, STOP_SIGNALS

_SFD_CLOEXEC = os.O_CLOEXEC
_SIGSET_BYTES = 128  # sigset_t of glibc and musl


@contextmanager
def opened() -> Iterator[tuple[int, ...]]:
    """Yield the epoll descriptor and the signalfd, or nothing if the kernel has no signalfd.

    Children that are started in the context inherit both. The stop signals must be blocked.

    :raises OSError: the kernel refused a step
    """
    import ctypes  # the os module has no signalfd, and a start without a guard needs none

    libc = ctypes.CDLL(None)
    mask = sum(1 << (number - 1) for number in (*STOP_SIGNALS, ALARM_SIGNAL))
    words = mask.to_bytes(8, "little").ljust(_SIGSET_BYTES, b"\0")
    signals = libc.signalfd(-1, words, _SFD_CLOEXEC)
    if signals < 0:
        yield ()
        return
    try:
        with select.epoll() as alarm:
            alarm.register(signals, select.EPOLLIN | select.EPOLLET)
            _test()
            # The guard reads only the epoll instance, but the signalfd must stay open.
            fds = (alarm.fileno(), signals)
            for fd in fds:
                os.set_inheritable(fd, True)
            yield fds
    finally:
        os.close(signals)


def _test() -> None:
    """Send this thread the alarm signal and take it back.

    A signal to the process could reach another thread that does not block it, and end the process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (ALARM_SIGNAL,))
    signal.pthread_kill(_thread.get_ident(), ALARM_SIGNAL)
    signal.sigwait((ALARM_SIGNAL,))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
