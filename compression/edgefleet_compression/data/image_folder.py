"""Folders of images, one folder per class, as ImageNet is stored."""

from pathlib import Path
from typing import Final

import numpy as np

from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.data.images import decode, normalised, require_memory, resize_and_crop, stack
from edgefleet_compression.data.specs import ImageFolderData
from edgefleet_compression.data.splitting import cut_validation, split_seeded
from edgefleet_compression.errors import DataInvalid

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
VALIDATION: Final = ("validation", "val")


def load(spec: ImageFolderData) -> DataSet:
    """Return x uint8 (n, 3, side, side), or float32 where the specification normalises, and y int64 (n,).

    Classes are the folders' names in order. Beside ``train``: ``test`` is the test split, and ``val`` the validation
    split; with one of the two alone, that is the test split and validation is cut from train.
    """
    if not spec.path.is_dir():
        raise DataInvalid(f"There is no folder {spec.path.name}.", code="data_missing")
    if not (spec.path / "train").is_dir():
        whole = _read_split(spec.path, _classes(spec.path), spec)
        assert whole.y is not None
        cut = split_seeded(spec.path.name, whole.inputs, whole.y, seed=spec.split_seed)
        return normalised(cut, spec.mean, spec.std)
    classes = _classes(spec.path / "train")
    train = _read_split(spec.path / "train", classes, spec)
    others = [spec.path / name for name in (*VALIDATION, "test") if (spec.path / name).is_dir()]
    if not others:
        raise DataInvalid(f"{spec.path.name} has train but neither val nor test beside it.", code="data_split_missing")
    test = _read_split(others[-1], classes, spec)
    if len(others) > 1:
        validation = _read_split(others[0], classes, spec)
    else:
        n_validation = max(1, round(len(train) * spec.validation_share))
        train, validation = cut_validation(train, n_validation=n_validation, seed=spec.split_seed)
    return normalised(DataSet(spec.path.name, train, validation, test), spec.mean, spec.std)


def _classes(folder: Path) -> dict[str, int]:
    names = sorted(item.name for item in folder.iterdir() if item.is_dir())
    if len(names) < 2:
        raise DataInvalid(f"{folder.name} needs a folder of images for each of two or more classes.", code="data_empty")
    return {name: label for label, name in enumerate(names)}


def _read_split(folder: Path, classes: dict[str, int], spec: ImageFolderData) -> Split:
    unknown = sorted(item.name for item in folder.iterdir() if item.is_dir() and item.name not in classes)
    if unknown:
        raise DataInvalid(
            f"{folder.name} has classes that train has not, for example {unknown[0]}.", code="labels_out_of_range"
        )
    files = [
        (item, label)
        for name, label in classes.items()
        if (folder / name).is_dir()
        for item in sorted((folder / name).iterdir())
        if item.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DataInvalid(f"{folder.name} holds no images ({', '.join(sorted(SUFFIXES))}).", code="data_empty")
    require_memory(len(files), (3, spec.side, spec.side), name=folder.name)
    images = [
        resize_and_crop(decode(item.read_bytes(), where=str(item.name)), side=spec.side, crop=spec.crop)
        for item, _ in files
    ]
    return Split({"x": stack(images, name=folder.name)}, np.array([label for _, label in files], np.int64))
