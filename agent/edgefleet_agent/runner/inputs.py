"""Inputs of the timed part and of the evaluation: seeded random numbers, or samples of an npz file."""

import zipfile
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from edgefleet_agent.runner.backend import Arrays, TensorFacts
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.sampling import choose_samples

SINGLE_INPUT = "x"
"""Name of the samples in a file for a model with one input; with several, arrays are named by input."""

LABELS = "y"

POOL_SAMPLES = 32
POOL_BYTES = 8 * 1024 * 1024
"""At most this many batches and bytes are cycled through by the timed part, so that they cost no memory worth naming."""


class EvaluationSet(NamedTuple):
    """Samples by input name, all ``n`` long, and labels where known.

    ``rows``: their places in the file, which holds ``n_available``; ``sampling``: how they were chosen (runner.sampling).
    """

    arrays: "Dict[str, np.ndarray[Any, Any]]"
    labels: "Optional[np.ndarray[Any, Any]]"
    n: int
    rows: "np.ndarray[Any, Any]"
    n_available: int
    sampling: str


def batch_size(inputs: "List[TensorFacts]", wanted: int) -> int:
    """Samples per inference: the model's own where its first dimensions are fixed and agree, else the wanted number."""
    first = {value.shape[0] for value in inputs if value.shape}
    if len(first) != 1 or None in first:
        return wanted
    fixed = first.pop() or wanted
    if wanted not in (1, fixed):
        raise RunnerFailure(
            "unsupported_input",
            "the model is fixed to a batch of {}, but a batch of {} was asked for; set batch to 1 or export the model "
            "with a free batch dimension".format(fixed, wanted),
        )
    return fixed


def random_batch(inputs: "List[TensorFacts]", batch: int, seed: int) -> Arrays:
    """Seeded random arrays: standard normal, full range for 8-bit integers, 0 or 1 for wider ones (they may be indices)."""
    rng = np.random.RandomState(seed % 2**32)
    return {value.name: _random_array(value, batch, rng) for value in inputs}


def _random_array(value: TensorFacts, batch: int, rng: Any) -> "np.ndarray[Any, Any]":
    shape = [batch if i == 0 and dim is None else dim for i, dim in enumerate(value.shape)]
    known = [dim for dim in shape if dim is not None]
    if len(known) < len(shape):
        raise RunnerFailure(
            "unsupported_input",
            "input {!r} has free dimensions {} beyond the batch; give an evaluation file whose samples fix them".format(
                value.name, value.shape
            ),
        )
    dtype = np.dtype(value.dtype)
    if dtype.kind == "f":
        return np.asarray(rng.standard_normal(known), dtype=dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        return np.asarray(rng.randint(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, known), dtype=dtype)
    return np.asarray(rng.randint(0, 2, known), dtype=dtype)


def read_evaluation(
    path: str,
    inputs: "List[TensorFacts]",
    limit: "Optional[int]",
    seed: int = 0,
    layouts: "Optional[Dict[str, str]]" = None,
) -> EvaluationSet:
    """Read and check an npz file; raises RunnerFailure(evaluation_data_invalid) with what is wrong.

    layouts: input name -> NHWC for files whose channels stand last; the file's images are (n, c, h, w) for every runtime.
    """
    arrays = _load_arrays(path)
    labels = arrays.pop(LABELS, None) if LABELS not in [value.name for value in inputs] else None
    named = {
        value.name: _in_layout(_pick_array(value, arrays, len(inputs)), (layouts or {}).get(value.name))
        for value in inputs
    }
    lengths = {array.shape[0] if array.ndim else 0 for array in named.values()}
    if labels is not None:
        lengths.add(labels.shape[0] if labels.ndim else 0)
    if len(lengths) != 1 or lengths == {0}:
        raise _invalid("arrays must be equally long and not empty, got lengths {}".format(sorted(lengths)))
    for value in inputs:
        _check_sample(value, named[value.name])
    n = lengths.pop()
    choice = choose_samples(n, limit, labels, seed)
    if choice.sampling != "all":
        named = {name: array[choice.rows] for name, array in named.items()}
        labels = None if labels is None else labels[choice.rows]
    return EvaluationSet(named, labels, len(choice.rows), choice.rows, n, choice.sampling)


def _load_arrays(path: str) -> "Dict[str, Any]":
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as err:
        raise _invalid("it is not a readable npz file without pickles: {}".format(err)) from err


def _pick_array(value: TensorFacts, arrays: "Dict[str, Any]", n_inputs: int) -> "np.ndarray[Any, Any]":
    name = value.name
    if name not in arrays and n_inputs == 1:
        name = SINGLE_INPUT
    if name not in arrays:
        raise _invalid("no array for input {!r} (arrays: {})".format(value.name, sorted(arrays)))
    array = arrays[name]
    if array.dtype.kind not in "fiub":
        raise _invalid("array {!r} holds {}, not numbers".format(name, array.dtype))
    return array  # type: ignore[no-any-return]


def _in_layout(array: "np.ndarray[Any, Any]", layout: "Optional[str]") -> "np.ndarray[Any, Any]":
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" and array.ndim == 4 else array


def _check_sample(value: TensorFacts, array: "np.ndarray[Any, Any]") -> None:
    wanted, got = value.shape[1:], list(array.shape[1:])
    fits = len(wanted) == len(got) and all(w is None or w == g for w, g in zip(wanted, got))
    if not fits:
        raise _invalid("input {!r} takes samples of shape {}, got {}".format(value.name, wanted, got))


def _invalid(what: str) -> RunnerFailure:
    return RunnerFailure("evaluation_data_invalid", "the evaluation file can't be used: {}".format(what))


def take_batch(data: EvaluationSet, start: int, batch: int) -> Arrays:
    """``batch`` samples from ``start`` on, wrapping round at the end."""
    rows = np.arange(start, start + batch) % data.n
    return {name: array[rows] for name, array in data.arrays.items()}


def pool_of_batches(data: EvaluationSet, batch: int) -> "List[Arrays]":
    """Distinct batches of real samples for the timed part."""
    first = take_batch(data, 0, batch)
    size = max(1, sum(array.nbytes for array in first.values()))
    count = max(1, min(POOL_SAMPLES, POOL_BYTES // size, data.n // batch))
    return [first] + [take_batch(data, i * batch, batch) for i in range(1, count)]
