"""The signals of the guard, and the names of signals."""

from __future__ import annotations

# SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPWR: the signals that stop the VM.
STOP_SIGNALS = (1, 2, 3, 15, 30)
# SIGRTMAX, which no other program sends: tests the alarm, see vmnet.supervision.alarm.
ALARM_SIGNAL = 64


def signal_name(number: int) -> str:
    import signal  # imports enum and its dependencies

    return signal.Signals(number).name
