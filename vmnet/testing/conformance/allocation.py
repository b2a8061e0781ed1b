"""Checks of allocation, by the IPAM stage: every release frees everything."""

from __future__ import annotations

import os
from typing import Any

from attrs import evolve

from vmnet.errors import VmnetError
from vmnet.model.identity import Identity
from vmnet.model.serial import from_json, to_json
from vmnet.testing import samples
from vmnet.testing.conformance.checks import needs, require_readable
from vmnet.testing.subject import Subject


class AllocationChecks:
    def allocated(self) -> object:
        """Return all current allocations of the other system, in any comparable form.

        Override this method if the system can list them. The suite compares the results before an
        allocation and after its release.
        """
        return None

    @needs("vmnet_ipam_allocate", "vmnet_ipam_release")
    def test_it_allocates_and_releases(self, subject: Subject) -> None:
        assert subject.implements("vmnet_ipam_allocate"), "it releases, but does not allocate"
        assert subject.implements("vmnet_ipam_release"), "it allocates, but does not release"

    @needs("vmnet_ipam_allocate")
    def test_an_allocation_is_an_identity(self, subject: Subject) -> None:
        """It has the container's interfaces, and survives JSON, because vmnet records it."""
        captured = samples.USUAL
        try:
            allocated = _allocate(subject, captured)
            assert from_json(to_json(allocated), Identity) == allocated
            assert [(interface.name, interface.mac) for interface in allocated.interfaces] == [
                (interface.name, interface.mac) for interface in captured.interfaces
            ], "an allocation must keep the names, MACs and order of the interfaces"
        finally:
            _release(subject, captured)

    @needs("vmnet_ipam_release")
    def test_releasing_without_an_allocation_is_no_error(self, subject: Subject) -> None:
        """vmnet repeats a release until it succeeds, and releases even if no call was made."""
        _release(subject, samples.USUAL)
        _allocate(subject, samples.USUAL)
        _release(subject, samples.USUAL)
        _release(subject, samples.USUAL)

    @needs("vmnet_ipam_allocate")
    def test_a_release_frees_everything(self, subject: Subject) -> None:
        """The other system is as before, and the next start can allocate again."""
        before = self.allocated()
        for _ in range(2):
            _allocate(subject, samples.USUAL)
            _release(subject, samples.USUAL)
            assert self.allocated() == before, "the release leaves something allocated"

    @needs("vmnet_ipam_allocate")
    def test_another_process_can_release(self, subject: Subject) -> None:
        """After a crash, the release has only the identity and the run directory."""
        before = self.allocated()
        _in_child(lambda: _allocate(subject, samples.USUAL))
        _release(subject, samples.USUAL)
        assert self.allocated() == before, "the release leaves something allocated"

    @needs("vmnet_ipam_allocate")
    def test_hostile_names_leave_no_allocation(self, subject: Subject) -> None:
        """The plugin allocates for them or refuses, and releases either way."""
        for name, identity in samples.HOSTILE.items():
            before = self.allocated()
            try:
                _allocate(subject, identity)
            except VmnetError as error:
                require_readable(error, name)
            finally:
                _release(subject, identity)
            assert self.allocated() == before, f"{name}: the release leaves something allocated"


def _allocate(subject: Subject, identity: Identity) -> Identity:
    result: Identity | None = subject.call("vmnet_ipam_allocate", Identity, identity=identity)
    return result or evolve(identity)


def _release(subject: Subject, identity: Identity) -> None:
    subject.call("vmnet_ipam_release", type(None), identity=identity)


def _in_child(function: Any) -> None:
    """Run a function in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the allocation failed"
