"""Instruments: counters, gauges and histograms as plain numbers, updated on one event loop only.

What Prometheus is shown is made from them when it asks (`exposition`); its client is imported by who serves that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX: Final = "perdure_"

Labels: TypeAlias = tuple[str, ...]

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0)


class Instrument(Protocol):
    """A metric. `family`: its current values in Prometheus's data model."""

    def family(self) -> Metric: ...


class Counter:
    """Monotonic counters by the values of their labels. `known`: label values shown from the start."""

    def __init__(self, name: str, what: str, labels: Labels = (), known: Iterable[str] = ()) -> None:
        self._name, self._what, self._labels = name, what, labels
        self.values: dict[Labels, int] = {(value,): 0 for value in known} if labels else {(): 0}

    def add(self, *labels: str, by: int = 1) -> None:
        """Increment by 1, or by `by`."""
        self.values[labels] = self.values.get(labels, 0) + by

    def family(self) -> Metric:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 it takes 80 ms: see above

        family = CounterMetricFamily(PREFIX + self._name, self._what, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Gauge:
    """A gauge that is sampled at scrape time through `read`."""

    def __init__(self, name: str, what: str, read: Callable[[], float]) -> None:
        self._name, self._what = name, what
        self.read = read

    def family(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        return GaugeMetricFamily(PREFIX + self._name, self._what, value=self.read())


class Gauges:
    """Gauges by one label, which are set."""

    def __init__(self, name: str, what: str, label: str) -> None:
        self._name, self._what, self._label = name, what, label
        self.values: dict[str, int] = {}

    def family(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        family = GaugeMetricFamily(PREFIX + self._name, self._what, labels=[self._label])
        for value, number in self.values.items():
            family.add_metric([value], number)
        return family


class _Buckets:
    """The counts and the sum of a histogram."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0


class Histogram:
    """Histograms with buckets `bounds`, by the values of their labels."""

    def __init__(self, name: str, what: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self._name, self._what, self._bounds, self._labels = name, what, bounds, labels
        self._spreads: dict[Labels, _Buckets] = {} if labels else {(): _Buckets(len(bounds))}

    def observe(self, value: float, *labels: str) -> None:
        """Record one value."""
        spread = self._spreads.get(labels)
        if spread is None:
            spread = self._spreads[labels] = _Buckets(len(self._bounds))
        spread.counts[bisect_left(self._bounds, value)] += 1
        spread.total += value

    def family(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

        family = HistogramMetricFamily(PREFIX + self._name, self._what, labels=self._labels)
        names = [*map(str, self._bounds), "+Inf"]
        for labels, spread in self._spreads.items():
            buckets = list(zip(names, accumulate(spread.counts), strict=True))
            family.add_metric(labels, buckets, spread.total)
        return family


class Instruments:
    """A group of instruments: those in its attributes. Implements Prometheus's collector protocol."""

    def collect(self) -> Iterator[Metric]:
        """The current values of all instruments."""
        for meter in vars(self).values():
            if isinstance(meter, (Counter, Gauge, Gauges, Histogram)):
                yield meter.family()


def exposition(*groups: Instruments) -> bytes:
    """Groups of instruments in Prometheus's text format, with the metrics of the process itself."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    for group in groups:
        registry.register(group)
    ProcessCollector(registry=registry)
    return generate_latest(registry)
