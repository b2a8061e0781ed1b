"""QEMU's control socket, through QEMU's own library (qemu.qmp)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError

from vmnet.errors import GuestError
from vmnet.running import find

_SECONDS = 5.0

# What fails is raised as well; a person is told once.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


class Monitor:
    """A session with QEMU; each answer is awaited for a few seconds."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    def listening(self, listener: EventListener) -> AbstractContextManager[None]:
        """Have a listener hear QEMU's events while the context lasts."""
        return self._client.listen(listener)

    async def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """What QEMU answers to a command.

        :raises GuestError: it refuses, or says nothing
        """
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._client.execute(command, arguments)
        except (QMPError, OSError) as error:  # TimeoutError included
            raise GuestError(
                f"QEMU does not do {command}: {error or 'no answer'}",
                "the container's log may say more: `docker logs NAME`",
            ) from None


@asynccontextmanager
async def session(path: Path) -> AsyncIterator[Monitor]:
    """:raises GuestError: nobody listens there, or QEMU does not answer in time"""
    client = QMPClient()
    with find.connect(path) as connection:
        try:
            async with asyncio.timeout(_SECONDS):
                await client.connect(connection.dup())  # it closes what it is given
        except (QMPError, OSError):
            raise GuestError(
                f"QEMU takes connections on {path} and does not answer",
                "it serves one at a time: is somebody connected from outside the container? If it "
                "hangs, `docker kill NAME` ends it as if the plug were pulled",
            ) from None
    try:
        yield Monitor(client)
    finally:
        await _leave(client)


async def _leave(client: QMPClient) -> None:
    """QEMU may have gone first, which is what was wanted."""
    try:
        async with asyncio.timeout(_SECONDS):
            await client.disconnect()
    except (QMPError, OSError, EOFError):
        return
