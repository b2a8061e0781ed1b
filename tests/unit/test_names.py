"""The checks of host and domain names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.model.names import is_domain, is_label

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


@pytest.mark.parametrize("name", ["web", "a", "0", "db-1", "my_app", "A1", "x" * 63])
def test_valid_labels(name: str) -> None:
    assert is_label(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "-web", "web-", "x" * 64, "a.b", "a b", "a,b", "a#b", "a/b", "a\n", "\na", "wéb"),
        *("a\0", "a=b", 'a"b', "a\\b", "$(a)", "a;b", "a\u0660"),
    ],
)
def test_invalid_labels(name: str) -> None:
    assert not is_label(name)


@pytest.mark.parametrize(
    "name", ["web", "example.com", "example.com.", "a.b.c", ".".join(["x" * 61] * 4)]
)
def test_valid_domains(name: str) -> None:
    assert is_domain(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", ".a", "a..", "a.-b", "a b.c", "a.b\n", ".".join(["x" * 63] * 4)],
)
def test_invalid_domains(name: str) -> None:
    assert not is_domain(name)


@given(st.text())
def test_only_letters_digits_underscores_and_hyphens_pass(name: str) -> None:
    assert not is_label(name) or set(name) <= set(LETTERS)
    assert not is_domain(name) or set(name) <= {*LETTERS, "."}


@given(st.lists(st.text(LETTERS, min_size=1, max_size=63).filter(is_label), min_size=1, max_size=3))
def test_labels_joined_by_dots_are_a_domain(labels: list[str]) -> None:
    assert is_domain(".".join(labels))
