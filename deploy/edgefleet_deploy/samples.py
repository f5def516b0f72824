"""Input samples for calibration and comparison: real ones where there is a data set, seeded random ones otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_session import fit_inputs

if TYPE_CHECKING:
    from edgefleet_compression.data.dataset import DataSet

Array = NDArray[Any]

RANDOM_SAMPLES = 128
PARITY_SAMPLES = 256


@dataclass(frozen=True)
class Samples:
    """Input name -> (n, ...), and where the samples come from."""

    inputs: Mapping[str, Array]
    source: Literal["train", "validation", "random"]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def first(self, n_samples: int) -> "Samples":
        """Return at most this many samples from the beginning."""
        return Samples({name: value[:n_samples] for name, value in self.inputs.items()}, self.source)


def random_samples(specs: tuple[TensorSpec, ...], *, n_samples: int, seed: int, n_values: int = 2) -> Samples:
    """Return seeded samples: standard normal for float inputs, integers below ``n_values`` for integer ones; 0 or 1, which
    are valid as an index and as a mask, where nothing more is known.
    """
    rng = np.random.default_rng(seed)
    return Samples({spec.name: _random_input(rng, spec, n_samples, n_values) for spec in specs}, "random")


def _random_input(rng: np.random.Generator, spec: TensorSpec, n_samples: int, n_values: int) -> Array:
    shape = (n_samples, *(int(dim) for dim in spec.shape[1:]))
    if spec.real_dtype.startswith("float"):
        return rng.standard_normal(shape).astype(spec.real_dtype)
    return rng.integers(0, n_values, shape).astype(spec.real_dtype)


def parity_samples(data: "DataSet | None", specs: tuple[TensorSpec, ...], seed: int, *, n_values: int = 2) -> Samples:
    """Return up to 256 samples to compare outputs on: of the validation split, or random without a data set.

    n_values: random integers lie below it, such as the size of a vocabulary.
    """
    if data is None:
        return random_samples(specs, n_samples=RANDOM_SAMPLES, seed=seed, n_values=n_values)
    if len(data.validation):
        return Samples(fit_inputs(specs, data.validation.inputs), "validation").first(PARITY_SAMPLES)
    return Samples(fit_inputs(specs, data.train.inputs), "train").first(PARITY_SAMPLES)


def calibration_samples(data: "DataSet | None", specs: tuple[TensorSpec, ...], *, n_samples: int, seed: int) -> Samples:
    """Return up to ``n_samples`` of the training split, drawn by seed, or as many random ones without a data set."""
    if data is None:
        return random_samples(specs, n_samples=min(n_samples, RANDOM_SAMPLES), seed=seed)
    chosen = np.random.default_rng(seed).permutation(len(data.train))[:n_samples]
    return Samples(fit_inputs(specs, data.train.take(np.sort(chosen)).inputs), "train")
