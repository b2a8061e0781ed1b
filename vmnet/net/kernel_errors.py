"""Turn the kernel's errors into vmnet's, with the step that failed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet import engine
from vmnet.errors import BridgeError, PrivilegeError


@contextmanager
def step(what: str) -> Iterator[None]:
    """Raise an OSError of the block as an error of vmnet.

    :param what: the step as an infinitive, such as "create the bridge br0"
    :raises PrivilegeError: the step is not permitted
    :raises BridgeError: the kernel refused the step for another reason
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPERM:
            raise PrivilegeError(
                f"no permission to {what}", engine.capability("NET_ADMIN")
            ) from None
        raise BridgeError(
            f"can't {what}: {error.strerror or error}", "`vmnet check` reports what this host lacks"
        ) from error
