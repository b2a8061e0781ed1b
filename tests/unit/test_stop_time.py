"""The default of VMNET_STOP_TIMEOUT."""

from __future__ import annotations

import pytest

from vmnet.planning import stop_time


@pytest.mark.parametrize(
    ("requested", "environ", "seconds"),
    [
        (None, {}, 8),
        (None, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, 25),
        (60, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, 60),
        (1, {}, 1),
    ],
)
def test_the_time_fits_the_engine(
    requested: int | None, environ: dict[str, str], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environ)
    assert stop_time.choose(requested) == seconds


@pytest.mark.parametrize(
    ("environ", "limit"),
    [
        ({}, "docker run --stop-timeout"),
        ({"container": "podman"}, "podman run --stop-timeout"),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, "terminationGracePeriodSeconds"),
    ],
)
def test_the_remedy_names_the_limit_of_the_engine(
    environ: dict[str, str], limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", environ)
    assert limit in stop_time.remedy()


def test_only_an_emulated_guest_with_the_default_is_warned_about() -> None:
    assert "longer than 8 s" in stop_time.shortage(None, "tcg")
    assert not stop_time.shortage(None, "kvm")
    assert not stop_time.shortage(60, "tcg")
