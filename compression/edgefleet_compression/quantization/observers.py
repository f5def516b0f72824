"""Which range of an activation its integers cover, chosen from a histogram of the values seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgefleet_compression.passes.specs import Calibration, ObserverName

Array = npt.NDArray[Any]

N_BINS: Final = 2048
"""Bins of magnitudes, as in "8-bit Inference with TensorRT" (Migacz, GTC 2017, slide 38); twice as many with signs."""

ENTROPY_STRIDE: Final = 8
"""Bins between two thresholds that the entropy observer tries; neighbours differ by less than the samples' noise."""

MSE_RATIOS: Final = tuple(i / 100 for i in range(10, 101))
"""Ranges that the mse observer tries, over the whole one."""


@dataclass
class Histogram:
    """Counts of values between -peak and peak, where peak is the larger of -low and high."""

    low: float
    high: float
    counts: Array
    """(2 * N_BINS,) float64."""

    @property
    def peak(self) -> float:
        """Largest magnitude."""
        return max(-self.low, self.high, 0.0)

    def add(self, x: Tensor) -> None:
        """Count the values of one batch."""
        if self.peak > 0.0:
            found = torch.histc(x.to(torch.float32), bins=len(self.counts), min=-self.peak, max=self.peak)
            self.counts += found.cpu().numpy()

    @property
    def centres(self) -> Array:
        """(2 * N_BINS,) middle of every bin."""
        width = 2 * self.peak / len(self.counts)
        centres: Array = -self.peak + width * (np.arange(len(self.counts)) + 0.5)
        return centres


class Observer(Protocol):
    """Choose the range that ``n_levels`` integers are spread over."""

    def __call__(self, histogram: Histogram, n_levels: int, calibration: Calibration, /) -> tuple[float, float]:
        """Return its lower and upper end; zero lies between them or at an end."""


def empty_histogram(low: float, high: float) -> Histogram:
    """Return a histogram without counts for values between low and high."""
    return Histogram(low, high, np.zeros(2 * N_BINS))


def cover_all(histogram: Histogram, _n_levels: int, _calibration: Calibration) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return histogram.low, histogram.high


def drop_rarest(histogram: Histogram, _n_levels: int, calibration: Calibration) -> tuple[float, float]:
    """Return the values below which 100 - percentile and percentile per cent lie."""
    total = np.cumsum(histogram.counts)
    if not len(total) or total[-1] == 0.0:
        return histogram.low, histogram.high
    share = calibration.percentile / 100.0
    width = 2 * histogram.peak / len(total)
    ends = np.searchsorted(total, np.array([1.0 - share, share]) * total[-1])
    low, high = -histogram.peak + ends[0] * width, -histogram.peak + (ends[1] + 1) * width
    return max(histogram.low, min(float(low), 0.0)), min(histogram.high, max(float(high), 0.0))


def keep_information(histogram: Histogram, n_levels: int, _calibration: Calibration) -> tuple[float, float]:
    """Return the range whose integers diverge least from the values: Kullback-Leibler (Migacz 2017, slides 29 to 40).

    As in NVIDIA's later code the first bin counts as much as the second: it is full of the zeros of a ReLU, which any
    range represents exactly.
    """
    bins = histogram.counts[N_BINS:] + histogram.counts[:N_BINS][::-1]
    bins[0] = bins[1]
    n_quantized = n_levels if histogram.low >= 0.0 else n_levels // 2
    best, least = N_BINS, np.inf
    for n_kept in range(n_quantized, N_BINS + 1, ENTROPY_STRIDE):
        divergence = _divergence(bins, n_kept, n_quantized)
        if divergence < least:
            best, least = n_kept, divergence
    threshold = best * histogram.peak / N_BINS
    return max(histogram.low, -threshold), min(histogram.high, threshold)


def _divergence(bins: Array, n_kept: int, n_quantized: int) -> float:
    """Return KL(values saturated at the threshold || their quantized form) in nats; infinite where that has a hole."""
    kept = bins[:n_kept]
    reference = kept.copy()
    reference[-1] += bins[n_kept:].sum()
    level = np.arange(n_kept) * n_quantized // n_kept
    filled = kept > 0
    sums = np.bincount(level, weights=kept, minlength=n_quantized)
    n_filled = np.maximum(np.bincount(level, weights=filled, minlength=n_quantized), 1.0)
    quantized = np.where(filled, (sums / n_filled)[level], 0.0)
    present = reference > 0
    if not present.any() or (quantized[present] == 0).any():
        return float("inf")
    p, q = reference[present] / reference.sum(), quantized[present] / quantized.sum()
    return float((p * np.log(p / q)).sum())


def least_error(histogram: Histogram, n_levels: int, _calibration: Calibration) -> tuple[float, float]:
    """Return the share of the whole range with the least squared rounding and clipping error."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    centres, best, least = histogram.centres, 1.0, np.inf
    for ratio in MSE_RATIOS:
        scale = max(ratio * (high - low) / (n_levels - 1), 1e-30)
        zero = np.clip(np.rint(-ratio * low / scale), 0, n_levels - 1)
        rounded = (np.clip(np.rint(centres / scale) + zero, 0, n_levels - 1) - zero) * scale
        error = float((histogram.counts * (rounded - centres) ** 2).sum())
        if error < least:
            best, least = ratio, error
    return best * low, best * high


OBSERVERS: Final[Mapping[ObserverName, Observer]] = MappingProxyType(
    {"minmax": cover_all, "percentile": drop_rarest, "entropy": keep_information, "mse": least_error}
)
"""Observer by the name it has in a spec."""
