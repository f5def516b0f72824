"""The samples of one seed: cut and noise are drawn anew for each, so that their chance is part of every interval."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.errors import DataInvalid, StudyInvalid
from edgefleet_compression.studies.declaration import StudyData

NOISE_STREAM: Final = 1
SHARE_STREAM: Final = 2
"""Second words of the seeds, so that cut, noise and share are drawn independently."""


def samples_of(data: StudyData, seed: int) -> DataSet:
    """Return the data set of one seed; StudyInvalid, DataInvalid."""
    if data.spec is None:
        raise StudyInvalid(f"The data set {data.name} has no specification.", code="study_data_missing")
    split_seed = seed if data.shares is None else 0  # where it is cut anew, the samples have to lie in one order
    found = load_data({"split_seed": split_seed, **data.spec})
    if found is None:
        raise StudyInvalid(f"The data set {data.name} has no specification.", code="study_data_missing")
    cut = found if data.shares is None else cut_anew(found, data.shares, seed)
    return with_noise(cut, data.noise, seed) if data.noise else cut


def cut_anew(data: DataSet, shares: tuple[float, float, float], seed: int) -> DataSet:
    """Return all samples in new splits of these shares, each class in the same ones; DataInvalid without labels."""
    parts = (data.train, data.validation, data.test)
    labels = [part.y for part in parts if part.y is not None]
    if len(labels) < len(parts):
        raise DataInvalid("A cut by class needs labels.", code="labels_missing")
    y = np.concatenate(labels)
    inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in data.train.inputs}
    whole = Split(inputs, y)
    rng = np.random.default_rng(seed)
    chosen: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    ends = np.cumsum(shares)[:2]
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(whole.y == label))
        pieces = np.split(members, [round(len(members) * end) for end in ends])
        for part, piece in zip(chosen, pieces, strict=True):
            part.append(piece)
    train, validation, test = (whole.take(np.sort(np.concatenate(part))) for part in chosen)
    return replace(data, train=train, validation=validation, test=test)


def with_noise(data: DataSet, deviation: float, seed: int) -> DataSet:
    """Return the data set with normal noise added to float inputs; the noise of a sample never changes within a seed."""
    rng = np.random.default_rng([seed, NOISE_STREAM])

    def noisy(split: Split) -> Split:
        return Split({name: _noisy(array, deviation, rng) for name, array in split.inputs.items()}, split.y)

    return replace(data, train=noisy(data.train), validation=noisy(data.validation), test=noisy(data.test))


def _noisy(array: Array, deviation: float, rng: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        raise DataInvalid("Noise is added to float samples only.", code="data_type_mismatch")
    return (array + rng.normal(0.0, deviation, array.shape)).astype(array.dtype)


def with_share(data: DataSet, share: float, seed: int) -> DataSet:
    """Return the data set with this share of its training samples, at least one."""
    if share >= 1.0:
        return data
    order = np.random.default_rng([seed, SHARE_STREAM]).permutation(len(data.train))
    kept = np.sort(order[: max(1, round(share * len(order)))])
    return replace(data, train=data.train.take(kept))


def chance_of(data: DataSet) -> float:
    """Return the accuracy of guessing among the classes."""
    return 1.0 / (data.n_classes or 1)


Specifications = Mapping[str, Mapping[str, Any]]
"""Name of a data set -> its specification, for those that a scale leaves open."""
