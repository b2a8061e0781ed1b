"""Sphinx's configuration for the documentation's site, which consists of the repository's pages.

CONTRIBUTING.md states how to build the site. ``tests/unit/test_site.py`` builds it in a test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from docutils.nodes import document
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from vmnet import __version__

# The sections of the menu, and their pages. Sphinx warns of a page that is missing here.
NAVIGATION = {
    "Run VMs": (
        "docs/machine",
        "docs/networking",
        "docs/operations",
        "docs/kubernetes",
        "docs/metrics",
        "docs/events",
        "docs/environment",
        "docs/performance",
        "SECURITY",
    ),
    "Extend vmnet": (
        "docs/architecture",
        "docs/hooks",
        "docs/api",
        "docs/writing-a-plugin",
        "CONTRIBUTING",
        "bench/README",
        "guest/README",
    ),
    "Plugins": (
        "plugins/dnsmasq/README",
        "plugins/cloudinit/README",
        "plugins/nodhcp/README",
        "plugins/qemu/README",
        "examples/vmnet-ipam-http/README",
        "examples/vmnet-ipam-cni/README",
        "examples/vmnet-devices-channel/README",
    ),
    "About": ("docs/comparison", "CHANGELOG"),
}

project = "vmnet"
copyright = "the vmnet contributors"
version = release = __version__

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "**/README.md"]
exclude_patterns = [".*", "**/.*", "build", "dist", "tests"]

# MyST reads CommonMark and anchors as code hosts do, and warns of broken links and anchors.
myst_heading_anchors = 4
# Shortened examples are not valid in their language.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"vmnet {__version__}"
html_copy_source = False


def setup(app: Sphinx) -> None:
    app.connect("source-read", _add_navigation)
    app.connect("doctree-read", _resolve_folders)
    app.connect("build-finished", _add_index)


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append the menu to the front page, where other readers of the file don't see it."""
    if page == root_doc:
        source[0] += "".join(
            "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in NAVIGATION.items()
        )


def _resolve_folders(app: Sphinx, tree: document) -> None:
    """Lead a link to a folder to the folder's README, or leave only its text if there is none."""
    for link in list(tree.findall(pending_xref)):
        if link["reftype"] != "myst" or link["refdomain"] == "doc":
            continue
        folder = (Path(app.srcdir) / link["refdoc"]).parent / link["reftarget"]
        if not folder.is_dir():
            continue  # MyST finds the target or warns
        readme = folder.resolve().relative_to(app.srcdir) / "README"
        if str(readme) in app.env.found_docs:
            link.attributes |= {"refdomain": "doc", "reftarget": str(readme), "reftargetid": None}
        else:
            link.replace_self(link.children)


def _add_index(app: Sphinx, error: Exception | None) -> None:
    """Serve the front page at the site's root, too."""
    if error is None:
        folder = Path(app.outdir)
        shutil.copy(folder / f"{root_doc}.html", folder / "index.html")
