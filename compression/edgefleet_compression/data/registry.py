"""Data sets by specification: ``{"kind": "packaged", "name": "digits"}``, ``{"kind": "generated", "name": "keywords"}`` or
``{"kind": "npz", "path": "..."}``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edgefleet_compression.data import keywords, npz
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import DataInvalid


def _load_digits(spec: "PackagedData") -> DataSet:
    from edgefleet_compression.data import digits  # scikit-learn takes a second to load

    return digits.load(spec.split_seed, side=spec.side or digits.SIDE)


class _Split(BaseModel):
    """How the data are cut; part of the data's identity and never of a job's seed.

    A network that was trained on one cut would be tested on its own training samples by another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    split_seed: int = Field(0, ge=0, lt=2**31, description="Seed of the cut into training, validation and test.")


class PackagedData(_Split):
    """A data set that comes with a Python package."""

    kind: Literal["packaged"] = "packaged"
    name: str = Field(max_length=64, description="Registered name, for example digits.")
    side: int | None = Field(
        None,
        ge=8,
        le=256,
        multiple_of=8,
        description="Height and width in pixels, by repeating pixels; null: as packaged.",
    )


class GeneratedData(_Split):
    """A synthetic task that is made from a seed; no figure on it says anything about real data."""

    kind: Literal["generated"] = "generated"
    name: Literal["keywords"] = Field(description="keywords: in which order two pairs of tokens occur in a text.")
    n_samples: int = Field(4000, ge=64, le=1_000_000, description="Samples, all splits together.")
    length: int = Field(16, ge=8, le=512, description="Tokens of a sample, padding included.")
    vocabulary: int = Field(64, ge=6, le=65536, description="Token ids lie below this.")


class NpzData(_Split):
    """A person's own .npz file."""

    kind: Literal["npz"] = "npz"
    path: Path = Field(description="Absolute path of the .npz file.")


DataSpec = Annotated[PackagedData | GeneratedData | NpzData, Field(discriminator="kind")]
_ADAPTER: Final[TypeAdapter[PackagedData | GeneratedData | NpzData]] = TypeAdapter(DataSpec)

PACKAGED: Final[Mapping[str, Callable[[PackagedData], DataSet]]] = MappingProxyType({"digits": _load_digits})
"""Data sets that come with a dependency: name -> loader."""

GENERATED: Final = frozenset({"keywords"})
"""Names of the synthetic tasks."""


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
    if isinstance(spec, NpzData):
        return npz.load(spec.path, spec.split_seed)
    if isinstance(spec, GeneratedData):
        return keywords.load(spec.split_seed, n_samples=spec.n_samples, length=spec.length, vocabulary=spec.vocabulary)
    if spec.name not in PACKAGED:
        raise DataInvalid(
            f"There is no packaged data set {spec.name!r}; known: {', '.join(sorted(PACKAGED))}.", code="data_unknown"
        )
    return PACKAGED[spec.name](spec)
