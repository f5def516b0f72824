"""The metric that a job chose, and the others, of one run; accuracy stays top-1."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from edgefleet_controller.db.tables import Artifact, Result

SCORES_NOT_REPORTED = "scores_not_reported"
"""Devices report the class that they name for each sample, and no scores."""
PREDICTIONS_NOT_REPORTED = "predictions_not_reported"


class MetricsRow(BaseModel):
    """Figures of a classifier; null where one says nothing of so many classes, or cannot be known."""

    top1: float | None = Field(description="share of samples whose class is named")
    top5: float | None = Field(description="share of samples whose class is among the five best")
    f1_binary: float | None = Field(description="F1 of class 1, for two classes")
    f1_macro: float | None = Field(description="mean of the classes' F1")
    mcc: float | None = Field(description="Matthews correlation coefficient, -1 to 1")


class MetricFields(BaseModel):
    """What a row says beside accuracy."""

    metric: str = Field(default="top1", description="figure that the job chose")
    metric_device: float | None = Field(default=None, description="that figure on the device")
    metric_host: float | None = Field(default=None, description="that figure of the same file on the controller's host")
    metric_reason: str | None = Field(default=None, description="why metric_device is null")
    metrics_device: MetricsRow | None = Field(
        default=None, description="of the classes that the device named; null without its predictions"
    )
    metrics_host: MetricsRow | None = Field(default=None, description="of the scores on the controller's host")


def metrics_of(
    metric: str, accuracy: Mapping[str, Any], artifact: Artifact | None, result: Result | None
) -> MetricFields:
    """The fields of a row. accuracy: that of the report, empty without one."""
    stored = (artifact.accuracy_host.get("metrics") if artifact is not None else None) or None
    host = MetricsRow.model_validate(stored) if stored else None
    found = result.metrics if result is not None and accuracy else None
    device = MetricsRow(top1=accuracy.get("value"), top5=None, **_shared(found)) if found else None
    value = accuracy.get("value") if metric == "top1" else getattr(device, metric, None)
    return MetricFields(
        metric=metric,
        metric_device=value,
        metric_host=getattr(host, metric, None),
        metric_reason=None if value is not None or not accuracy else _reason(metric, accuracy),
        metrics_device=device,
        metrics_host=host,
    )


def _shared(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found.get(name) for name in ("f1_binary", "f1_macro", "mcc")}


def _reason(metric: str, accuracy: Mapping[str, Any]) -> str:
    if accuracy.get("reason"):
        return str(accuracy["reason"])
    return SCORES_NOT_REPORTED if metric == "top5" else PREDICTIONS_NOT_REPORTED
