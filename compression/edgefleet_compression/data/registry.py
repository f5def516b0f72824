"""Load a data set by its specification (``specs``)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from edgefleet_compression.data import cifar, image_folder, image_pack, keywords, npz, tsv
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.specs import (
    CifarData,
    DataSpec,
    GeneratedData,
    ImageFolderData,
    ImagePackData,
    NpzData,
    PackagedData,
    TsvData,
)
from edgefleet_compression.errors import DataInvalid

__all__ = ["GENERATED", "PACKAGED", "GeneratedData", "PackagedData", "load_data"]


def _load_digits(spec: PackagedData) -> DataSet:
    from edgefleet_compression.data import digits  # scikit-learn takes a second to load

    return digits.load(spec.split_seed, side=spec.side or digits.SIDE)


PACKAGED: Final[Mapping[str, Callable[[PackagedData], DataSet]]] = MappingProxyType({"digits": _load_digits})
"""Data sets that come with a dependency: name -> loader."""

GENERATED: Final = frozenset({"keywords"})
"""Names of the synthetic tasks."""


def _load_packaged(spec: PackagedData) -> DataSet:
    if spec.name not in PACKAGED:
        raise DataInvalid(
            f"There is no packaged data set {spec.name!r}; known: {', '.join(sorted(PACKAGED))}.", code="data_unknown"
        )
    return PACKAGED[spec.name](spec)


def _load_generated(spec: GeneratedData) -> DataSet:
    return keywords.load(spec.split_seed, n_samples=spec.n_samples, length=spec.length, vocabulary=spec.vocabulary)


def _load_npz(spec: NpzData) -> DataSet:
    return npz.load(spec.path, spec.split_seed)


_LOADERS: Final[Mapping[type, Callable[[Any], DataSet]]] = MappingProxyType(
    {
        PackagedData: _load_packaged,
        GeneratedData: _load_generated,
        NpzData: _load_npz,
        CifarData: cifar.load,
        ImagePackData: image_pack.load,
        ImageFolderData: image_folder.load,
        TsvData: tsv.load,
    }
)
_ADAPTER: Final[TypeAdapter[Any]] = TypeAdapter(DataSpec)


def load_data(document: Mapping[str, Any] | None) -> DataSet | None:
    """Return the data set of a specification (None for None), cut by its ``split_seed`` where it is not cut already."""
    if document is None:
        return None
    try:
        spec = _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DataInvalid(
            f"The data set specification is not valid: {first['msg']}.", code="data_spec_invalid"
        ) from error
    return _LOADERS[type(spec)](spec)
