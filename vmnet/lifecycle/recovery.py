"""Recover from an earlier start in this namespace: restore its network, release its allocations."""

from __future__ import annotations

import logging
from pathlib import Path

from vmnet.errors import BridgeError, StateError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import run_directory, state, vm_record
from vmnet.lifecycle.changes import uplink_record
from vmnet.settings.core import RUN_DIR

_log = logging.getLogger(__name__)


def recover(hooks: Hooks) -> None:
    """Restore the network that an earlier start left, then release its allocations.

    The network comes first, because vmnet reaches other systems through it.

    :raises StateError: other users can change the run directory
    :raises BridgeError: the VM of the earlier start runs
    :raises VmnetError: the network can't be restored, or an allocation not released
    """
    run_dir = hooks.settings[RUN_DIR]
    run_directory.require(run_dir)
    left = state.load(run_dir, hooks.restorers)
    if left is not None:
        if _runs(run_dir):
            raise BridgeError(
                "a VM already runs in this container and uses its network",
                "`vmnet status` shows it, and `vmnet stop` stops it",
            )
        _log.info(
            "restoring the network that a start left in this namespace",
            extra={"event": "network.recovering"},
        )
        _reopen(run_dir)
        hooks.restore_bridge(left.wiring)
        state.discard(run_dir)
    if state.allocations_path(run_dir).exists():
        from vmnet.lifecycle import allocation

        allocation.release(hooks)


def _reopen(run_dir: Path) -> None:
    """Remove the filters from NICs that appeared while the VM ran, so that they can be captured."""
    record = uplink_record.load(run_dir)
    if record is None or record.shut:
        from vmnet.net.filters import drop_all

        drop_all.reopen(drop_all.find() if record is None else record.shut)
    uplink_record.discard(run_dir)


def _runs(run_dir: Path) -> bool:
    try:
        return vm_record.load(run_dir) is not None
    except StateError as error:  # another version of vmnet may have written it
        _log.debug("%s", error)
        return False
