"""The development copy of CIFAR-10 beside the repository: lossy JPEG, so figures compare only within it.

Source, licence and splits: README.md of the development data. Nothing of it is copied into the repository.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch

from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.data.images import normalised
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.training.augmentation import crop_and_flip

LABEL: Final = "CIFAR-10 (JPEG copy)"
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
"""Normalisation of the checkpoints (github akamaster/pytorch_resnet_cifar10, trainer.py: that of ImageNet)."""

_TRAIN, _TEST = "cifar10_train_jpegbytes.npz", "cifar10_test_dev5k.npz"


def is_here(shared: Path) -> bool:
    """Return True if both files are there."""
    return all((_folder(shared) / name).is_file() for name in (_TRAIN, _TEST))


def load(
    shared: Path,
    *,
    n_train: int | None = None,
    n_validation: int | None = None,
    n_test: int | None = None,
    moved: bool = False,
) -> DataSet:
    """Return normalised images float32 (n, 3, 32, 32); test is dev5k.

    n_train, n_validation, n_test: only so many of the split, drawn by a fixed seed, to save time. Validation is the cut that
    the baseline checkpoint was trained with. moved: every training image is shifted and mirrored once, at random but always
    the same, as that checkpoint's training saw them: BatchNorm statistics of images as they are cost it 0.8 points.
    """
    whole = _decoded(shared)
    chosen = DataSet(
        LABEL, _some(whole.train, n_train), _some(whole.validation, n_validation), _some(whole.test, n_test)
    )
    data = normalised(chosen, MEAN, STD)
    return replace(data, train=_moved(data.train)) if moved else data


@lru_cache(maxsize=1)
def _decoded(shared: Path) -> DataSet:
    spec = {"kind": "image_pack", "train": str(_folder(shared) / _TRAIN), "test": str(_folder(shared) / _TEST)}
    data = load_data(spec)
    assert data is not None
    return replace(data, name=LABEL)


def _folder(shared: Path) -> Path:
    return shared / "data" / "cifar10-jpeg"


def _some(split: Split, n: int | None) -> Split:
    return split if n is None else split.take(np.sort(np.random.default_rng(1).permutation(len(split))[:n]))


def _moved(split: Split) -> Split:
    images = crop_and_flip(torch.from_numpy(split.x), torch.Generator().manual_seed(0))
    return Split({"x": images.numpy()}, split.y)
