"""Golden outputs: does this runtime compute what the artifact is? Checked once, before anything is timed.

Wrong pairs of runtime and format load without a word and give garbage, NaN or a crash; a latency of garbage is worth
nothing. The file is written by edgefleet_deploy.golden, which describes it.
"""

import zipfile
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from edgefleet_agent.runner.backend import Model
from edgefleet_agent.runner.failure import RunnerFailure

TOLERANCE_DB = 6.0
"""The device may be this far below the host's SNR: right pairs were seen within 0.3 dB, garbage fell by 35 dB or more."""

ENOUGH_DB = 50.0
"""More is asked of nobody, however exact the host was. A float file on a GPU or in half precision rounds to 10 bits of
mantissa: 71 dB each time, 51 dB after a hundred in a row. Eight bits, the next worse arithmetic there is, give 48 dB at
the very best (20 log10 of 2^8), so a float file that was silently run in integers does not pass."""

LEAST_DB = 0.0
"""Below this the error is larger than the signal, and the file is no approximation of the network on any runtime."""

SILENT_DB = -300.0
"""Stands for an error beside a reference of zeros."""

CLEAR_STEPS = 4.0
"""A class is clear where its score leads by more than this many 1/255 of the output's range ..."""

CLEAR_SIGMAS = 4.0
"""... and by this many times the error that the SNR asked for would still allow."""


class Golden(NamedTuple):
    """Arrays by name, all ``n`` long; host SNR by output, None where the host was exact."""

    inputs: "Dict[str, np.ndarray[Any, Any]]"
    reference: "Dict[str, np.ndarray[Any, Any]]"
    host_snr_db: "Dict[str, Optional[float]]"
    n: int


def check_golden(model: Model, batch: int, path: str) -> "Dict[str, Any]":
    """Run the golden inputs; the figures of a pass (see wire.report.GoldenSummary).

    Raises RunnerFailure wrong_output with the figures in ``detail``, or golden_data_invalid.
    """
    golden = read_golden(path, model)
    answers = _run(model, batch, golden)
    rows = [compare(name, wanted, answers[name], golden.host_snr_db[name]) for name, wanted in golden.reference.items()]
    broken = [text for text in (_complaint(row) for row in rows) if text is not None]
    figures = {"passed": not broken, "n_samples": golden.n, "outputs": rows}
    if broken:
        raise RunnerFailure(
            "wrong_output",
            "the runtime does not compute what the artifact is: {}. Choose another runtime or precision for this board, "
            "or another version of the runtime".format("; ".join(broken)),
            {"golden": figures},
        )
    return figures


def read_golden(path: str, model: Model) -> Golden:
    """Read the file and check that it fits the model; raises RunnerFailure(golden_data_invalid)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        input_names = [str(name) for name in arrays["input_names"]]
        output_names = [str(name) for name in arrays["output_names"]]
        inputs = {name: arrays["input_{}".format(i)] for i, name in enumerate(input_names)}
        reference = {name: arrays["reference_{}".format(i)] for i, name in enumerate(output_names)}
        host = [None if np.isnan(value) else float(value) for value in arrays["host_snr_db"]]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as err:
        raise _invalid("it is no readable npz file of golden outputs: {}".format(err)) from err
    lengths = {array.shape[0] if array.ndim else 0 for array in list(inputs.values()) + list(reference.values())}
    if len(lengths) != 1 or lengths == {0} or len(host) != len(output_names):
        raise _invalid("its arrays must be equally long and not empty, got lengths {}".format(sorted(lengths)))
    _check_inputs(inputs, model)
    if len(reference) != len(model.outputs):
        raise _invalid("it has outputs {}, the model has {}".format(output_names, [v.name for v in model.outputs]))
    return Golden(inputs, reference, dict(zip(output_names, host)), lengths.pop())


def _check_inputs(inputs: "Dict[str, Any]", model: Model) -> None:
    for value in model.inputs:
        array = inputs.get(value.name)
        if array is None or array.dtype.kind not in "fiub":
            raise _invalid("no numbers for input {!r} (inputs: {})".format(value.name, sorted(inputs)))
        wanted, got = value.shape[1:], list(array.shape[1:])
        if len(wanted) != len(got) or any(w not in (None, g) for w, g in zip(wanted, got)):
            raise _invalid("input {!r} takes samples of shape {}, got {}".format(value.name, wanted, got))


def _invalid(what: str) -> RunnerFailure:
    return RunnerFailure("golden_data_invalid", "the golden file can't be used: {}".format(what))


def _run(model: Model, batch: int, golden: Golden) -> "Dict[str, np.ndarray[Any, Any]]":
    """Output name of the golden file -> (n, ...) as float64; a last incomplete batch is filled up."""
    names = list(golden.reference)
    parts = {name: [] for name in names}  # type: Dict[str, List[Any]]
    for start in range(0, golden.n, batch):
        rows = np.arange(start, start + batch) % golden.n
        feed = model.prepare({name: array[rows] for name, array in golden.inputs.items()})
        outputs = _by_name(model, names, model.read_outputs(model.invoke(feed)))
        kept = min(batch, golden.n - start)
        for name in names:
            parts[name].append(_samples(name, outputs[name], batch, golden.reference[name].shape[1:])[:kept])
    return {name: np.concatenate(parts[name]) for name in names}


def _by_name(model: Model, names: "List[str]", outputs: "Sequence[Any]") -> "Dict[str, Any]":
    """Outputs under the golden file's names; by position where the runtime calls them otherwise."""
    own = [value.name for value in model.outputs]
    return dict(zip(own if set(own) == set(names) else names, outputs))


def _samples(name: str, output: Any, batch: int, shape: "Any") -> "np.ndarray[Any, Any]":
    size = batch * int(np.prod(shape))
    if output.size != size:
        raise _invalid("output {!r} has {} values, {} were expected".format(name, output.size, size))
    return np.array(output, dtype=np.float64).reshape((batch,) + tuple(shape))  # a copy: runtimes reuse their buffers


def compare(name: str, wanted: Any, found: Any, host_snr_db: "Optional[float]") -> "Dict[str, Any]":
    """Figures of one output, reference and device (n, ...); non-finite values are looked for first."""
    reference = np.asarray(wanted, dtype=np.float64)
    required = required_snr_db(host_snr_db)
    row = {
        "name": name,
        "snr_db": None,
        "host_snr_db": host_snr_db,
        "required_snr_db": required,
        "max_abs_error": None,
        "n_non_finite": int(found.size - np.count_nonzero(np.isfinite(found))),
        "n_clear": 0,
        "n_clear_wrong": 0,
    }  # type: Dict[str, Any]
    if row["n_non_finite"]:
        return row  # every comparison with NaN is false, and max(x, nan) is x: no figure below would be true
    difference = found - reference
    row["snr_db"] = snr_db(reference, difference)
    row["max_abs_error"] = float(np.max(np.abs(difference))) if difference.size else 0.0
    row.update(_classes(reference, found, required))
    return row


def required_snr_db(host_snr_db: "Optional[float]") -> float:
    """Least SNR that passes; None: the host was exact."""
    if host_snr_db is None:
        return ENOUGH_DB
    return min(max(host_snr_db - TOLERANCE_DB, LEAST_DB), ENOUGH_DB)


def snr_db(signal: Any, difference: Any) -> "Optional[float]":
    """10 log10 of the signal's power over that of the difference; None without any difference."""
    noise, power = float(np.sum(np.square(difference))), float(np.sum(np.square(signal)))
    if noise == 0.0:
        return None
    return 10.0 * float(np.log10(power / noise)) if power > 0.0 else SILENT_DB


def _classes(reference: Any, found: Any, required: float) -> "Dict[str, int]":
    """Samples whose class the float network is sure of, and how many of them the device answers otherwise."""
    if reference.ndim != 2 or reference.shape[1] < 2:
        return {}
    allowed_rms = float(np.sqrt(np.mean(np.square(reference)))) * 10.0 ** (-required / 20.0)
    margin = max(CLEAR_STEPS * float(np.ptp(reference)) / 255.0, CLEAR_SIGMAS * allowed_rms)
    two_largest = np.sort(reference, axis=1)[:, -2:]
    clear = (two_largest[:, 1] - two_largest[:, 0]) > margin
    differs = reference.argmax(axis=1) != found.argmax(axis=1)
    return {"n_clear": int(np.count_nonzero(clear)), "n_clear_wrong": int(np.count_nonzero(clear & differs))}


def _complaint(row: "Dict[str, Any]") -> "Optional[str]":
    """What is wrong with an output, or None."""
    if row["n_non_finite"]:
        return "output {!r} has {} values that are NaN or infinite".format(row["name"], row["n_non_finite"])
    if row["snr_db"] is not None and not row["snr_db"] >= row["required_snr_db"]:
        text = "output {!r} is at {:.1f} dB against the float network (largest error {:.3g}), {:.1f} dB are needed"
        text = text.format(row["name"], row["snr_db"], row["max_abs_error"], row["required_snr_db"])
        host = "exact" if row["host_snr_db"] is None else "at {:.1f} dB".format(row["host_snr_db"])
        return "{}: the compiling host was {}".format(text, host)
    if row["n_clear_wrong"]:
        return "output {!r} names another class in {} of {} samples whose class is clear".format(
            row["name"], row["n_clear_wrong"], row["n_clear"]
        )
    return None
