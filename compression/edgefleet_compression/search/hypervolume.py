"""The volume that a front dominates, exactly, by moocore (Fonseca, Paquete, López-Ibáñez 2006, CEC, pp. 1157-1163)."""

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

MOST_OBJECTIVES = 4


@dataclass(frozen=True)
class Box:
    """The fixed frame of a study: the best and the worst value of every objective, (n_objectives,), all minimised.

    Volumes are shares of the box, so that objectives of different units weigh alike, and figures of two searches with the
    same box compare. Fixed before the search: a frame that follows the points would reward a search for bad ones.
    """

    best: tuple[float, ...]
    worst: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a box without inside or with more objectives than are computed exactly."""
        if not 1 <= len(self.best) == len(self.worst) <= MOST_OBJECTIVES:
            raise ValueError(f"a box has 1 to {MOST_OBJECTIVES} objectives, got {len(self.best)} and {len(self.worst)}")
        if not all(low < high for low, high in zip(self.best, self.worst, strict=True)):
            raise ValueError(f"the worst of every objective lies above its best, got {self.best} and {self.worst}")

    def share(self, points: Sequence[Sequence[float]]) -> float:
        """Return the share of the box that the points (n, n_objectives) dominate, in [0, 1]; 0 without points.

        A point beyond the best counts as at the best; one at or beyond the worst counts nothing.
        """
        if not points:
            return 0.0
        scaled = np.maximum(self.scaled(points), 0.0)
        return float(moocore.hypervolume(scaled, ref=np.ones(len(self.best))))

    def scaled(self, points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Return the points with the best at 0 and the worst at 1 in every objective. Raises ValueError for NaN or a wrong shape."""
        array = np.asarray(points, np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.best) or not np.isfinite(array).all():
            raise ValueError(f"points need {len(self.best)} finite figures each, got an array of shape {array.shape}")
        low, high = np.asarray(self.best), np.asarray(self.worst)
        scaled: NDArray[np.float64] = (array - low) / (high - low)
        return scaled


def attained(fronts: Sequence[Sequence[Sequence[float]]], *, share: float) -> NDArray[np.float64]:
    """Return the points (n, n_objectives) that bound what this share of the fronts attains: one front for each seed.

    The empirical attainment surface (Grunert da Fonseca, Fonseca, Hall 2001, EMO), exact, 2 or 3 objectives. share: in
    (0, 1]; a half gives the median over seeds. Raises ValueError.
    """
    if not 0 < share <= 1 or not fronts or not all(len(front) for front in fronts):
        raise ValueError("attainment needs a share in (0, 1] and at least one point of every front")
    points = np.concatenate([np.asarray(front, np.float64) for front in fronts])
    owners = np.repeat(np.arange(len(fronts)), [len(front) for front in fronts])
    surface: NDArray[np.float64] = moocore.eaf(points, owners, percentiles=[100 * share])
    return surface[:, :-1]
