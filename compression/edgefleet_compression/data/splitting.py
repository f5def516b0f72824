"""One seeded cut of a data set into train, validation and test: 70 / 15 / 15 %, stratified where there are labels."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split
from edgefleet_compression.errors import DataInvalid

TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15
MIN_SAMPLES: Final = 8


def split_seeded(name: str, inputs: Mapping[str, Array], y: Array | None, *, seed: int) -> DataSet:
    """Return the data set cut by seed; each class is cut in the same shares, so no class is missing by chance."""
    whole = Split(inputs, y)
    if len(whole) < MIN_SAMPLES:
        raise DataInvalid(
            f"Data set {name!r} has {len(whole)} samples; at least {MIN_SAMPLES} are needed for three splits.",
            code="data_too_small",
        )
    rng = np.random.default_rng(seed)
    strata = [np.arange(len(whole))] if y is None else [np.flatnonzero(y == label) for label in np.unique(y)]
    parts: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    for members in strata:
        shuffled = rng.permutation(members)
        cuts = [round(len(shuffled) * TRAIN_SHARE), round(len(shuffled) * (TRAIN_SHARE + VALIDATION_SHARE))]
        for part, piece in zip(parts, np.split(shuffled, cuts), strict=True):
            part.append(piece)
    train, validation, test = (whole.take(np.sort(np.concatenate(part))) for part in parts)
    return DataSet(name, train, validation, test)


def cut_validation(train: Split, *, n_validation: int, seed: int) -> tuple[Split, Split]:
    """Return (training, validation): the last ``n_validation`` samples of a seeded permutation are held out.

    For data sets that bring a test split of their own, which is left alone.
    """
    if not 0 < n_validation < len(train):
        raise DataInvalid(
            f"{n_validation} validation samples cannot be cut from {len(train)} training samples.",
            code="data_too_small",
        )
    order = np.random.default_rng(seed).permutation(len(train))
    return train.take(np.sort(order[:-n_validation])), train.take(np.sort(order[-n_validation:]))
