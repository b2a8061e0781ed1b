"""The findings of a check, each a line with a remedy."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from vmnet.model.serial import plain
from vmnet.terminal.colours import styled
from vmnet.terminal.documents import print_json

_STYLE = {"ok": "green", "warning": "yellow", "missing": "red"}


@frozen
class Finding:
    """A result of a check.

    :param result: ``ok``, ``warning`` (it works, but slower or incompletely) or ``missing``
    """

    what: str
    result: str
    detail: str
    remedy: str = ""


def report(findings: Iterable[Finding], *, as_json: bool, good: str, bad: str) -> int:
    """Print findings as they arrive.

    :param good: the last line if nothing is missing
    :param bad: the consequence if something is missing
    :return: the exit code: 1 if something is missing
    """
    seen = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            _show(finding)
    missing = sum(finding.result == "missing" for finding in seen)
    if as_json:
        print_json([plain(finding) for finding in seen])
    else:
        print(f"\n{good}" if not missing else f"\n{missing} missing: {bad}")
    return 1 if missing else 0


def _show(finding: Finding) -> None:
    mark = styled(finding.result.ljust(8), _STYLE[finding.result])
    print(f"{mark}  {finding.what.ljust(12)}  {finding.detail}")
    if finding.remedy:
        print(f"{'':8}  {'':12}  → {finding.remedy}")
