"""The text format OpenMetrics, by the library prometheus-client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from vmnet.running.metrics import table
from vmnet.running.metrics.readings import Reading


def text(readings: Iterable[Reading]) -> str:
    """Return readings in the format OpenMetrics 1.0, each metric with its help."""
    registry = CollectorRegistry()
    registry.register(_Readings(tuple(readings)))
    encoded: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return encoded.decode()


class _Readings(Collector):
    def __init__(self, readings: tuple[Reading, ...]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each metric that has a value, in the order of the table."""
        for metric in table.METRICS:
            found = [reading for reading in self._readings if reading.metric is metric]
            if found:
                yield _family(metric, found)


def _family(metric: table.Metric, readings: list[Reading]) -> Metric:
    about = metric.family, metric.help
    if metric.kind == "info":
        info = InfoMetricFamily(*about)
        for reading in readings:
            info.add_metric((), dict(zip(metric.labels, reading.labels, strict=True)))
        return info
    if metric.kind == "stateset":
        states = {reading.labels[0]: bool(reading.value) for reading in readings}
        return StateSetMetricFamily(*about, value=states)
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind == "counter":
        family = CounterMetricFamily(*about, labels=metric.labels, unit=metric.unit)
    else:
        family = GaugeMetricFamily(*about, labels=metric.labels, unit=metric.unit)
    for reading in readings:
        family.add_metric(reading.labels, float(reading.value))
    return family
