"""Which samples of an evaluation set are used where not all are: drawn by seed, and every class in its share."""

from typing import Any, NamedTuple, Optional

import numpy as np


class Choice(NamedTuple):
    """Rows of the evaluation set in ascending order, and how they were chosen: all, stratified or random."""

    rows: "np.ndarray[Any, Any]"
    sampling: str


def choose_samples(n: int, limit: "Optional[int]", labels: "Optional[np.ndarray[Any, Any]]", seed: int) -> Choice:
    """At most ``limit`` of ``n`` samples; the same on every device, since RandomState's stream is frozen (NEP 19).

    With integer labels (n,) every class keeps its share, rounded by largest remainder; without them the draw is plain.
    """
    if limit is None or limit >= n:
        return Choice(np.arange(n), "all")
    rng = np.random.RandomState(seed % 2**32)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return Choice(np.sort(rng.permutation(n)[:limit]), "random")
    classes, members = np.unique(labels, return_inverse=True)
    sizes = np.bincount(members, minlength=len(classes))
    places = share_out(limit, sizes)
    chosen = [rng.permutation(np.flatnonzero(members == i))[:wanted] for i, wanted in enumerate(places)]
    return Choice(np.sort(np.concatenate(chosen)), "stratified")


def share_out(total: int, sizes: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """``total`` places by size (Hare quota, largest remainder; the first class wins a tie); none gets more than its size."""
    quotas = total * sizes / float(sizes.sum())
    places = np.floor(quotas).astype(np.int64)
    order = np.argsort(-(quotas - places), kind="stable")
    places[order[: total - int(places.sum())]] += 1
    return places
