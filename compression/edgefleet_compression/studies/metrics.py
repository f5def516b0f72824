"""The figures of a unit that claims and comparisons name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.studies.claims import MetricName
from edgefleet_compression.studies.records import FileFigures, UnitRecord


def read_metric(record: UnitRecord, name: MetricName) -> float:
    """Return one figure of a finished unit."""
    figures, baseline = _both(record)
    return _METRICS[name](figures, baseline, record.chance or 0.0)


def validation_retention(record: UnitRecord) -> float:
    """Return the accuracy kept on the validation split: what choices look at."""
    figures, baseline = _both(record)
    return _ratio(figures.accuracy_validation, baseline.accuracy_validation)


def _both(record: UnitRecord) -> tuple[FileFigures, FileFigures]:
    if record.figures is None or record.baseline is None:
        raise ValueError(f"unit {record.arm}, seed {record.seed} has no figures")
    return record.figures, record.baseline


def _ratio(value: float, of: float) -> float:
    return value / of if of > 0 else 0.0


_METRICS: Final[Mapping[str, Callable[[FileFigures, FileFigures, float], float]]] = MappingProxyType(
    {
        "accuracy": lambda own, base, chance: own.accuracy,  # noqa: ARG005
        "retention": lambda own, base, chance: _ratio(own.accuracy, base.accuracy),  # noqa: ARG005
        "retention_over_chance": lambda own, base, chance: _ratio(own.accuracy - chance, base.accuracy - chance),
        "f1_retention": lambda own, base, chance: _ratio(own.f1_macro, base.f1_macro),  # noqa: ARG005
        "size_ratio": lambda own, base, chance: base.size_bytes / own.size_bytes,  # noqa: ARG005
        "gzip_ratio": lambda own, base, chance: base.gzip_bytes / own.gzip_bytes,  # noqa: ARG005
        "macs_ratio": lambda own, base, chance: base.macs / max(1, own.macs),  # noqa: ARG005
    }
)
