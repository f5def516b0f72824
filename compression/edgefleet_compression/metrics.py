"""Figures of a classifier beyond top-1; which tasks and metrics a request may name. Torch-free.

F1 and MCC are scikit-learn's to the last digits (tests compare them) and computed here, since importing it takes each
compression or compile step longer than many of them work otherwise. Loss and accuracy of a torch network are in ``evaluate``, BLEU of texts in ``text_metrics``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edgefleet_compression.data.dataset import Array
from edgefleet_compression.errors import RequestInvalid

UNSUPPORTED_TASKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "detection": "the zoo has no network with boxes, and no data set here brings any: mAP has nothing to compare",
        "question_answering": "networks here give one answer per sample, not a span of the text",
        "translation": "networks here do not generate text, so there is nothing for BLEU to score",
    }
)
"""Tasks that people ask for, and why they are refused."""


METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "top1": "share of samples whose class is named",
        "top5": "share of samples whose class is among the five best; more than five classes",
        "f1_binary": "F1 of class 1; two classes",
        "f1_macro": "mean of the classes' F1, each weighing the same",
        "mcc": "Matthews correlation coefficient, -1 to 1; 0 is chance",
    }
)
"""What a job may choose."""

UNSUPPORTED_METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "map": "detection",
        "map50": "detection",
        "exact_match": "question_answering",
        "span_f1": "question_answering",
        "bleu": "translation",
    }
)
"""Metrics of the tasks that are refused."""


class PredictionMetrics(BaseModel):
    """What the named classes alone say. Shares 0..1 but for mcc, which is -1..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    f1_binary: float | None = Field(description="Of class 1; null unless there are two classes.")
    f1_macro: float = Field(description="Mean of the classes' F1, each weighing the same.")
    mcc: float = Field(description="Matthews correlation coefficient; 0 is chance.")


class TaskMetrics(PredictionMetrics):
    """What the scores say."""

    top1: float
    top5: float | None = Field(description="null with five classes or fewer: it would always be 1.")


def prediction_metrics(predicted: Array, labels: Array, *, n_classes: int) -> PredictionMetrics:
    """Return the metrics of the classes named for n samples (n,) against labels (n,); n >= 1, of integers of any size."""
    classes, index = np.unique(np.concatenate((labels, predicted)), return_inverse=True)
    of_labels, of_predicted = index[: len(labels)], index[len(labels) :]
    n_labelled, n_named, n_right = (
        np.bincount(each, minlength=len(classes)).astype(np.float64)
        for each in (of_labels, of_predicted, of_labels[of_labels == of_predicted])
    )
    f1 = dict(zip(classes.tolist(), (2 * n_right / (n_labelled + n_named)).tolist(), strict=True))
    # a class that neither occurs nor is named has F1 0 (scikit-learn's zero_division=0)
    return PredictionMetrics(
        f1_binary=f1.get(1, 0.0) if n_classes == 2 else None,
        f1_macro=sum(f1.get(each, 0.0) for each in range(n_classes)) / n_classes,
        mcc=_matthews(n_labelled, n_named, float(n_right.sum())),
    )


def _matthews(n_labelled: Array, n_named: Array, n_right: float) -> float:
    """Return Gorodkin's R_K (2004, doi:10.1016/j.compbiolchem.2004.09.006) of counts per class; 0 where it is undefined."""
    n = float(n_labelled.sum())
    spread = (n * n - n_labelled @ n_labelled) * (n * n - n_named @ n_named)
    return float((n_right * n - n_labelled @ n_named) / np.sqrt(spread)) if spread > 0 else 0.0


def classification_metrics(logits: Array, labels: Array) -> TaskMetrics:
    """Return the metrics of logits (n, n_classes) against labels (n,)."""
    n_classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return TaskMetrics(
        top1=float((predicted == labels).mean()),
        top5=float((best == labels[:, None]).any(axis=1).mean()) if n_classes > 5 else None,
        **prediction_metrics(predicted, labels, n_classes=n_classes).model_dump(),
    )


def require_supported(task: str) -> None:
    """Raise RequestInvalid ``task_unsupported`` for a task other than classification, with the reason."""
    if task != "classification":
        reason = UNSUPPORTED_TASKS.get(task, "it is not known here")
        raise RequestInvalid(
            f"The task {task} is not supported: {reason}. Use classification.",
            code="task_unsupported",
            detail={"task": task, "supported": ["classification"]},
        )


def require_metric(metric: str, *, n_classes: int | None) -> None:
    """Raise RequestInvalid unless the metric is known and says something of a model with so many classes (None: unknown).

    Codes: ``task_unsupported`` for a metric of another task, ``metric_unknown``, ``metric_unsuitable``.
    """
    if metric in UNSUPPORTED_METRICS:
        require_supported(UNSUPPORTED_METRICS[metric])
    if metric not in METRICS:
        raise RequestInvalid(
            f"There is no metric {metric!r}; the metrics are {', '.join(METRICS)}.",
            code="metric_unknown",
            detail={"metric": metric, "supported": list(METRICS)},
        )
    if n_classes is None:
        return
    if (metric == "f1_binary" and n_classes != 2) or (metric == "top5" and n_classes <= 5):
        raise RequestInvalid(
            f"{metric} says nothing of a model with {n_classes} classes ({METRICS[metric]}): choose f1_macro, mcc or top1.",
            code="metric_unsuitable",
            detail={"metric": metric, "n_classes": n_classes},
        )
