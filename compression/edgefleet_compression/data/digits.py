"""The digits packaged with scikit-learn: 1,797 grey images of 8x8, ten classes.

Source: UCI "Optical Recognition of Handwritten Digits" test set, as shipped by sklearn.datasets.load_digits.
"""

from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.splitting import split_seeded

MAX_PIXEL: Final = 16.0
"""Pixels are counts 0..16 (scikit-learn's description of the data set)."""
SIDE: Final = 8
"""Height and width of an image as packaged."""
MEAN: Final = 0.305
STD: Final = 0.376
"""Mean and standard deviation of the scaled pixels, rounded; fixed, so that every seed sees the same normalisation."""


def load(seed: int, *, side: int = SIDE) -> DataSet:
    """Return the digits: x float32 (n, 1, side, side), side a multiple of 8 (pixels are repeated), normalised to about zero mean and unit deviation; y int64 (n,)."""
    from sklearn.datasets import load_digits  # takes a second, of every process that knows the registry of data

    bunch = load_digits()
    x = (bunch.images.astype(np.float32)[:, None] / np.float32(MAX_PIXEL) - np.float32(MEAN)) / np.float32(STD)
    x = x.repeat(side // SIDE, axis=2).repeat(side // SIDE, axis=3)
    return split_seeded("digits", {"x": x}, bunch.target.astype(np.int64), seed=seed)
