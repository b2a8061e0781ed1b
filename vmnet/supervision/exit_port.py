"""The commands that end QEMU with a chosen exit status, through its device isa-debug-exit.

`quit` would exit with 0, as after a power-off.
"""

from __future__ import annotations

EXIT_PORT = 0xF4
FORCED_STATUS = 19
PANIC_STATUS = 1  # as QEMU's own `-action panic=exit-failure`


def ending(status: int) -> tuple[bytes, ...]:
    """Return the commands of QEMU's control socket that end it with an odd exit status.

    `stop` answers when the disks are written back, which an exit through the port does not do (QEMU
    7.2). `quit` is for machines without this port.
    """
    port = b"o /b %d %d" % (EXIT_PORT, status >> 1)
    return (
        b'{"execute": "stop"}',
        b'{"execute": "human-monitor-command", "arguments": {"command-line": "%s"}}' % port,
        b'{"execute": "quit"}',
    )
