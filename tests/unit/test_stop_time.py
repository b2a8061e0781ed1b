"""The default of VMNET_STOP_TIMEOUT."""

from __future__ import annotations

import pytest

from vmnet.planning import stop_time

DOCKER: dict[str, str] = {}
PODMAN = {"container": "podman"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
ENGINES = pytest.mark.parametrize(
    ("environ", "limit"), [(DOCKER, 10), (PODMAN, 10), (KUBERNETES, 30)]
)


@pytest.mark.parametrize(
    ("environ", "accelerator", "seconds"),
    [
        (DOCKER, "kvm", 8),
        (DOCKER, "tcg", 9),
        (PODMAN, "tcg", 9),
        (KUBERNETES, "kvm", 25),
        (KUBERNETES, "tcg", 28),
    ],
)
def test_the_time_fits_the_engine_and_the_accelerator(
    environ: dict[str, str], accelerator: str, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environ)
    assert stop_time.choose(None, accelerator) == seconds
    assert stop_time.choose(60, accelerator) == 60


@ENGINES
@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
def test_qemu_has_time_to_write_back_the_disks_before_the_engine_kills_it(
    environ: dict[str, str], limit: int, accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environ)
    assert stop_time.choose(None, accelerator) < limit


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (DOCKER, "`docker run --stop-timeout 70 -e VMNET_STOP_TIMEOUT=60`"),
        (DOCKER, "`stop_grace_period: 70s`"),
        (PODMAN, "`podman run --stop-timeout 70 -e VMNET_STOP_TIMEOUT=60`"),
        (KUBERNETES, "`terminationGracePeriodSeconds: 70`"),
    ],
)
def test_the_remedy_names_the_limit_of_the_engine(
    environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environ)
    assert words in stop_time.remedy(8)


def test_the_remedy_for_a_guest_that_has_much_time_is_more_time() -> None:
    assert "--stop-timeout 210 -e VMNET_STOP_TIMEOUT=200" in stop_time.remedy(100)


def test_only_an_emulated_guest_whose_time_is_short_is_warned_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.environ", DOCKER)
    assert "longer than 9 s" in stop_time.shortage(None, "tcg")
    assert "after 10 s" in stop_time.shortage(None, "tcg")
    assert not stop_time.shortage(None, "kvm")
    assert not stop_time.shortage(60, "tcg")
    monkeypatch.setattr("os.environ", KUBERNETES)
    assert not stop_time.shortage(None, "tcg")
