"""Name the step in the error when the kernel refuses it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vmnet.errors import BridgeError, PrivilegeError


@contextmanager
def step(what: str) -> Iterator[None]:
    """The kernel's OSError as vmnet's own.

    :param what: an infinitive, such as "make the bridge br0"
    :raises PrivilegeError: it was not permitted
    :raises BridgeError: the kernel refused it for another reason
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPERM:
            raise PrivilegeError(
                f"no permission to {what}", "run the container with `--cap-add NET_ADMIN`"
            ) from None
        raise BridgeError(
            f"can't {what}: {error.strerror or error}", "`vmnet check` tells what this host lacks"
        ) from error
