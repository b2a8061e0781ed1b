"""The documentation's site is built without a warning, and a broken page prevents that."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name
from tests.lab.command import Completed, run
from tests.lab.wait import WAIT

# What a browser loads without being asked.
_LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?!data:)([^\"]+)")


def build(source: Path, into: Path, *, check: bool = True) -> Completed:
    """Build the site with all warnings, which are errors."""
    options = ("--fail-on-warning", "--nitpicky", "--keep-going", "--quiet", "--builder", "html")
    folders = ("--conf-dir", ROOT / "docs", "--doctree-dir", into / "doctrees")
    command = (sys.executable, "-m", "sphinx", *options, *folders, source, into / "site")
    return run(*command, timeout=WAIT, check=check)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(ROOT, folder)
    return folder / "site"


def test_the_site_contains_every_page(site: Path) -> None:
    expected = [Path(name(page)).with_suffix(".html") for page in PAGES]
    assert not [path for path in expected if not (site / path).is_file()]
    front = (site / "index.html").read_text()
    assert front == (site / "README.html").read_text()
    for path in expected:
        assert f'href="{path}"' in front or path.name == "README.html", "not in the menu"


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = _LOADED.findall(page.read_text())
        assert loaded
        for target in loaded:
            assert not re.match(r"(?:\w+:)?//", target), f"{page.name}: {target}"
            assert (page.parent / target.partition("?")[0].partition("#")[0]).exists(), target


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[x](docs/absent.md)", "cross-reference target not found: 'docs/absent.md'"),
        ("[x](docs/page.md#absent)", "local id not found in doc 'docs/page': 'absent'"),
        ("[x](absent/folder)", "cross-reference target not found: 'absent/folder'"),
        ("# Jump\n\n### Over a level", "Non-consecutive header level increase"),
    ],
)
def test_a_broken_page_is_an_error(text: str, warning: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "README.md").write_text(f"# Front\n\n{text}\n")
    (source / "docs" / "page.md").write_text("# Page\n")
    built = build(source, tmp_path, check=False)
    assert built.returncode == 1
    assert warning in built.stderr
    assert f"{source / 'docs' / 'page.md'}: WARNING: document isn't included in any toctree" in (
        built.stderr
    )
