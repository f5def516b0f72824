"""The evaluation loop: predictions of the loaded artifact on every sample, batch by batch."""

from typing import Any, Callable, List, NamedTuple, Sequence

import numpy as np

from edgefleet_agent.runner.backend import Model
from edgefleet_agent.runner.inputs import EvaluationSet, take_batch


class Predictions(NamedTuple):
    """``classes``: index of the largest output per sample, or None where the first output is no score per class."""

    classes: "np.ndarray[Any, Any] | None"
    n_non_finite: int


def evaluate(model: Model, data: EvaluationSet, batch: int, on_progress: "Callable[[int], None]") -> Predictions:
    """Run every sample once; a last incomplete batch is filled up and the surplus dropped."""
    classes: "List[Any]" = []
    n_non_finite = 0
    for start in range(0, data.n, batch):
        outputs = model.read_outputs(model.invoke(model.prepare(take_batch(data, start, batch))))
        kept = min(batch, data.n - start)
        n_non_finite += count_non_finite(outputs, batch, kept)
        classes.append(_classes(outputs[0], batch, kept))
        on_progress(start + kept)
    if any(part is None for part in classes):
        return Predictions(None, n_non_finite)
    return Predictions(np.concatenate(classes).astype(np.int64), n_non_finite)


def count_non_finite(outputs: "Sequence[np.ndarray[Any, Any]]", batch: int, kept: int) -> int:
    """Samples with a NaN or an infinity in any output."""
    broken = np.zeros(kept, dtype=bool)
    for output in outputs:
        if output.dtype.kind != "f":
            continue
        if output.ndim and output.shape[0] == batch:
            broken |= ~np.isfinite(output.reshape(batch, -1)[:kept]).all(axis=1)
        elif not np.isfinite(output).all():
            broken[:] = True
    return int(broken.sum())


def _classes(output: "np.ndarray[Any, Any]", batch: int, kept: int) -> "np.ndarray[Any, Any] | None":
    """Top-1 of an output of shape (batch, classes, 1, ...)."""
    if output.ndim < 2 or output.shape[0] != batch or int(np.prod(output.shape[2:])) != 1 or output.shape[1] < 2:
        return None
    return output.reshape(batch, -1)[:kept].argmax(axis=1)  # type: ignore[no-any-return]
