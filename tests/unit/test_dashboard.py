"""The dashboard in deploy/grafana uses only metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmnet.running.metrics.table import METRICS

PAGE = Path(__file__).parents[2] / "deploy" / "grafana" / "vmnet.json"
LABELS = {metric.name: metric.labels for metric in METRICS}
_SELECTOR = re.compile(r"\b(vmnet_\w+)(?:\{([^}]*)\})?")
# Prometheus adds these to each sample that it scrapes.
ADDED = {"instance", "job"}


def dashboard() -> Any:
    return json.loads(PAGE.read_text())


def targets() -> Iterator[tuple[str, str]]:
    """Yield each query and its legend."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


def test_queries_use_metrics_and_labels_that_exist() -> None:
    queries = list(targets())
    assert len(queries) > 10
    for query, legend in queries:
        selectors = _SELECTOR.findall(re.sub(r'"[^"]*"', '""', query))
        assert selectors, query
        for name, conditions in selectors:
            known = {*LABELS[name], *ADDED}
            assert set(re.findall(r"(\w+)\s*=~?", conditions)) <= known, query
            assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= known, legend


def test_counters_are_shown_as_rates_or_sums() -> None:
    for query, _ in targets():
        for name in re.findall(r"vmnet_\w+_total", query):
            shown = re.search(rf"(rate|increase)\({name}", query)
            assert shown or name == "vmnet_process_restarts_total", query


def test_the_panels_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_data_source_and_the_vm_can_be_chosen() -> None:
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    assert set(re.findall(r"\$\{?([a-z]+)\}?", PAGE.read_text())) == variables
