"""Figures of a classifier beyond top-1, by scikit-learn from predictions; loss and accuracy are in ``evaluate``."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import f1_score, matthews_corrcoef

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


class TaskMetrics(BaseModel):
    """Shares 0..1 but for mcc, which is -1..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top1: float
    top5: float | None = Field(description="null with five classes or fewer: it would always be 1.")
    f1_binary: float | None = Field(description="Of class 1; null unless there are two classes.")
    f1_macro: float = Field(description="Mean of the classes' F1, each weighing the same.")
    mcc: float = Field(description="Matthews correlation coefficient; 0 is chance.")


def classification_metrics(logits: Array, labels: Array) -> TaskMetrics:
    """Return the metrics of logits (n, n_classes) against labels (n,)."""
    n_classes = logits.shape[1]
    predicted = logits.argmax(axis=1)
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    is_binary = n_classes == 2
    return TaskMetrics(
        top1=float((predicted == labels).mean()),
        top5=float((best == labels[:, None]).any(axis=1).mean()) if n_classes > 5 else None,
        f1_binary=float(f1_score(labels, predicted, zero_division=0.0)) if is_binary else None,
        f1_macro=float(f1_score(labels, predicted, labels=np.arange(n_classes), average="macro", zero_division=0.0)),
        mcc=float(matthews_corrcoef(labels, predicted)),
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
