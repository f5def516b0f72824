"""The figures that a front may have as axes, each with its standard error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.results.front import Direction
from edgefleet_controller.results.schemas import Interval, VariantRow


@dataclass(frozen=True)
class Figure:
    """A figure that a front may have as an axis. read: its estimate in a row; None where the row has none."""

    label: str
    direction: Direction
    read: Callable[[VariantRow], Estimate | None]


def _exact(read: Callable[[VariantRow], float | None]) -> Callable[[VariantRow], Estimate | None]:
    def estimate(row: VariantRow) -> Estimate | None:
        value = read(row)
        return None if value is None else Estimate(value)

    return estimate


def _percentile(name: str) -> Callable[[VariantRow], Estimate | None]:
    """Of several launches the interval over launches where there is one: it holds what differs between processes too."""

    def estimate(row: VariantRow) -> Estimate | None:
        latency = row.latency_ms
        value = getattr(latency, name, None)
        if latency is None or value is None:
            return None
        if (launches := latency.launch_intervals.get(name)) is not None:
            return Estimate.of_interval(value, *launches)
        return _around(value, latency.intervals.get(name), latency.confidence)

    return estimate


def _around(value: float, interval: Interval | None, confidence: float) -> Estimate:
    return Estimate(value) if interval is None else Estimate.of_interval(value, *interval, confidence=confidence)


def _accuracy(row: VariantRow) -> Estimate | None:
    value = row.accuracy_device
    return None if value is None else _around(value, row.accuracy_interval, 0.95)


def _metric(row: VariantRow) -> Estimate | None:
    """The job's metric: top-1 with its interval, others as they are, since F1 and MCC come without one."""
    return _accuracy(row) if row.metric == "top1" else _exact(lambda one: one.metric_device)(row)


def _energy(row: VariantRow) -> Estimate | None:
    value, expanded = row.energy.value_mj, row.energy.expanded_uncertainty_mj
    if value is None:
        return None
    return _around(value, None if expanded is None else (value - expanded, value + expanded), 0.95)


def _throughput(row: VariantRow) -> float | None:
    return row.latency_ms.throughput_per_s if row.latency_ms is not None else None


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "latency_p50_ms": Figure("median latency (ms)", Direction.MINIMISE, _percentile("p50")),
        "latency_p90_ms": Figure("90th percentile of latency (ms)", Direction.MINIMISE, _percentile("p90")),
        "latency_p99_ms": Figure("99th percentile of latency (ms)", Direction.MINIMISE, _percentile("p99")),
        "throughput_per_s": Figure("samples per second", Direction.MAXIMISE, _exact(_throughput)),
        "size_bytes": Figure("size of the file (bytes)", Direction.MINIMISE, _exact(lambda row: row.size_bytes)),
        "peak_memory_bytes": Figure(
            "peak memory (bytes)", Direction.MINIMISE, _exact(lambda row: row.peak_memory_bytes)
        ),
        "energy_mj": Figure("gross energy per inference (mJ)", Direction.MINIMISE, _energy),
        "accuracy": Figure("accuracy on the device", Direction.MAXIMISE, _accuracy),
        "metric": Figure("the job's metric on the device", Direction.MAXIMISE, _metric),
    }
)
"""Axes by name. Bytes are exact; throughput and peak memory come without an interval and are compared as they are."""
