"""Golden outputs: typical inputs and what the float network answers, which travel with every artifact.

A device runs them before anything is timed (edgefleet_agent.runner.golden): wrong pairs of runtime and format give silent
garbage, NaN or a crash, and a latency of garbage is worth nothing. Pure numpy.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgefleet_deploy.errors import GoldenInvalid
from edgefleet_deploy.parity import snr_db

Array = NDArray[Any]
GoldenSource = Literal["validation", "train", "random"]

GOLDEN_FILE = "golden.npz"
GOLDEN_SAMPLES = 8
GOLDEN_BYTES = 4 * 1024 * 1024
"""Inputs of more than this are cut to fewer samples: the file goes to every device with every run."""

GOLDEN_TOLERANCE_DB = 6.0
"""The device's SNR may be this far below the host's. The same file under two runtimes that both compute it rightly was
seen within 0.3 dB; every pair that gives garbage fell by 35 dB or more."""


@dataclass(frozen=True)
class GoldenPair:
    """Inputs and reference outputs by name in the file's own order and layout, all (n, ...), numbers in real units.

    An input or output that the file holds as scaled integers stands here as the real numbers (the runner converts), one
    without a scale (token ids) as its integers. host_snr_db: for each output, this very file under its runtime on the
    host against the reference, over these samples; None where both are equal.
    """

    inputs: Mapping[str, Array]
    reference: Mapping[str, Array]
    host_snr_db: Mapping[str, float | None]
    source: GoldenSource

    def __post_init__(self) -> None:
        """Raise GoldenInvalid for what could not tell a right runtime from a wrong one."""
        arrays = {**self.inputs, **self.reference}
        lengths = {value.shape[0] if value.ndim else 0 for value in (*self.inputs.values(), *self.reference.values())}
        if not self.inputs or not self.reference or len(lengths) != 1 or lengths == {0}:
            raise GoldenInvalid(f"golden inputs and outputs need one length above 0, they have {sorted(lengths)}")
        if set(self.host_snr_db) != set(self.reference):
            raise GoldenInvalid(
                f"outputs are {sorted(self.reference)}, the host's SNR is of {sorted(self.host_snr_db)}"
            )
        for name, value in arrays.items():
            if value.dtype.kind not in "fiub" or not np.isfinite(value).all():
                raise GoldenInvalid(
                    f"golden array {name!r} holds {value.dtype} with something else than finite numbers"
                )
        if not any(np.any(value) for value in self.inputs.values()):
            raise GoldenInvalid("golden inputs are all zero, which can hide a wrong scale: take typical samples")
        if self.source not in get_args(GoldenSource):
            raise GoldenInvalid(f"golden samples come from {self.source!r}, not from one of {get_args(GoldenSource)}")

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self.inputs.values())))


def make_golden(
    inputs: Mapping[str, Array],
    reference: Mapping[str, Array],
    found: Mapping[str, Array],
    source: GoldenSource,
) -> GoldenPair | None:
    """Return up to 8 of the samples as a golden pair; None where none of them is typical (all inputs zero).

    inputs, reference (of the float network) and found (of this file on the host): name -> (n, ...), the same samples in
    the same order. Raises GoldenInvalid for NaN, infinity or arrays of different length.
    """
    chosen = _typical(inputs)
    if not len(chosen):
        return None
    wanted = {name: value[chosen] for name, value in reference.items()}
    answers = {name: found[name][chosen].astype(np.float64) for name in reference}
    return GoldenPair(
        inputs={name: value[chosen] for name, value in inputs.items()},
        reference=wanted,
        host_snr_db={
            name: snr_db(value.astype(np.float64), answers[name] - value.astype(np.float64))
            for name, value in wanted.items()
        },
        source=source,
    )


def _typical(inputs: Mapping[str, Array]) -> Array:
    """Return the indices of the first samples with something in them, as many as the file has room for."""
    arrays = list(inputs.values())
    has_content = np.any([np.any(value.reshape(len(value), -1) != 0, axis=1) for value in arrays], axis=0)
    sample_bytes = sum(value[:1].nbytes for value in arrays)
    n_wanted = min(GOLDEN_SAMPLES, max(1, GOLDEN_BYTES // max(1, sample_bytes)))
    return np.flatnonzero(has_content)[:n_wanted]


def write_golden(pair: GoldenPair) -> bytes:
    """Return the pair as an npz file without pickles; equal pairs give equal bytes.

    Arrays: input_names and output_names (text), input_0.. and reference_0.., host_snr_db (float64, NaN: equal), source.
    """
    arrays: dict[str, Array] = {
        "input_names": np.array(list(pair.inputs), dtype=np.str_),
        "output_names": np.array(list(pair.reference), dtype=np.str_),
        "host_snr_db": np.array([_or_nan(pair.host_snr_db[name]) for name in pair.reference], dtype=np.float64),
        "source": np.array(pair.source, dtype=np.str_),
    }
    arrays.update({f"input_{i}": value for i, value in enumerate(pair.inputs.values())})
    arrays.update({f"reference_{i}": value for i, value in enumerate(pair.reference.values())})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes a keyword for a flag
    return buffer.getvalue()


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def parse_golden(payload: bytes) -> GoldenPair:
    """Return the pair of an npz file; GoldenInvalid says what is wrong with it. Pickles are never loaded."""
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _pair_of(arrays)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as err:
        raise GoldenInvalid(f"the golden file cannot be read ({err}): compile the candidate again") from err


def _pair_of(arrays: Mapping[str, Array]) -> GoldenPair:
    snr = [None if np.isnan(value) else float(value) for value in arrays["host_snr_db"]]
    outputs = [str(name) for name in arrays["output_names"]]
    source = str(arrays["source"])
    if source not in get_args(GoldenSource):
        raise GoldenInvalid(f"golden samples come from {source!r}, not from one of {get_args(GoldenSource)}")
    return GoldenPair(
        inputs={str(name): arrays[f"input_{i}"] for i, name in enumerate(arrays["input_names"])},
        reference={name: arrays[f"reference_{i}"] for i, name in enumerate(outputs)},
        host_snr_db=dict(zip(outputs, snr, strict=True)),
        source=source,  # type: ignore[arg-type]  # checked above
    )
