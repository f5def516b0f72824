"""Images packed in .npz files: compressed images one after another, or plain arrays."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from edgefleet_compression.data.dataset import Array, DataSet, Split
from edgefleet_compression.data.images import decode, normalised, require_memory, stack
from edgefleet_compression.data.npz import read_arrays
from edgefleet_compression.data.specs import ImagePackData
from edgefleet_compression.data.splitting import cut_validation, split_seeded
from edgefleet_compression.errors import DataInvalid


def load(spec: ImagePackData) -> DataSet:
    """Return x uint8 (n, c, h, w), or float32 where the specification normalises, and y int64 (n,)."""
    first = _read_pack(spec.train)
    name = spec.train.stem
    if spec.test is None:
        assert first.y is not None
        return normalised(split_seeded(name, first.inputs, first.y, seed=spec.split_seed), spec.mean, spec.std)
    train, validation = cut_validation(first, n_validation=spec.n_validation, seed=spec.split_seed)
    return normalised(DataSet(name, train, validation, _read_pack(spec.test)), spec.mean, spec.std)


def _read_pack(path: Path) -> Split:
    arrays = read_arrays(path)
    y = arrays.get("y", arrays.get("label"))
    if y is None or y.ndim != 1 or y.dtype.kind not in "iu" or (len(y) and y.min() < 0):
        raise DataInvalid(f"{path.name} needs labels y: integers from 0 on, shape (n,).", code="labels_invalid")
    x = _decode_all(arrays, path.name) if "jpeg" in arrays else _plain_images(arrays, path.name)
    return Split({"x": x}, y.astype(np.int64))


def _decode_all(arrays: dict[str, Array], name: str) -> Array:
    payload, offsets = arrays["jpeg"], arrays.get("offsets")
    if offsets is None or offsets.ndim != 1 or offsets.dtype.kind not in "iu" or payload.dtype != np.uint8:
        raise DataInvalid(f"{name} needs jpeg (uint8) and offsets (integers, n + 1).", code="data_unreadable")
    edges = offsets.astype(np.int64)
    if len(edges) < 2 or edges[0] < 0 or edges[-1] > len(payload) or (np.diff(edges) <= 0).any():
        raise DataInvalid(f"The offsets of {name} do not rise within its {len(payload)} bytes.", code="data_unreadable")
    raw = payload.tobytes()
    first = decode(raw[edges[0] : edges[1]], where=f"image 0 of {name}")
    require_memory(len(edges) - 1, first.shape, name=name)
    pairs = pairwise(edges.tolist())
    return stack([decode(raw[a:b], where=f"image {i} of {name}") for i, (a, b) in enumerate(pairs)], name=name)


def _plain_images(arrays: dict[str, Array], name: str) -> Array:
    x = arrays.get("x")
    if x is None or x.ndim != 4 or x.dtype != np.uint8 or x.shape[3] not in (1, 3) or len(x) == 0:
        raise DataInvalid(f"{name} needs jpeg with offsets, or x uint8 (n, h, w, 1 or 3).", code="data_unreadable")
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
