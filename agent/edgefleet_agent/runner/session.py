"""One measurement from load to evaluation, in the order in which the phases must not disturb each other."""

import os
import statistics
import time
from array import array
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from edgefleet_agent.runner import memory
from edgefleet_agent.runner.backend import LoadRequest, Model, import_backend
from edgefleet_agent.runner.evaluation import count_non_finite, evaluate
from edgefleet_agent.runner.inputs import (
    EvaluationSet,
    batch_size,
    pool_of_batches,
    random_batch,
    read_evaluation,
)
from edgefleet_agent.runner.protocol import Channel
from edgefleet_agent.runner.timing import Series, Window, capacity_for, monotonic_ns, run_timed

PROGRESS_S = 2.0
"""Seconds between the evaluation's signs of life."""

WARMUP_CAPACITY = 4096
"""Room for the warm-up's samples; more would show in the memory figures."""

NO_LIMIT_S = 1e6


class Loaded(NamedTuple):
    """A loaded model with its batch, prepared inputs and figures so far."""

    model: Model
    batch: int
    feeds: "List[Any]"
    figures: "Dict[str, Any]"


def measure(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    """Run all phases; raw series are written as npy files into ``output_dir``, figures are returned."""
    settings = request["settings"]
    channel.enter("load")
    loaded = _load(request)
    first_ms, n_non_finite = _first_inference(loaded)
    loaded.figures.update(first_inference_ms=first_ms, n_non_finite_first=n_non_finite)
    warmup = _warm_up(loaded, settings, first_ms, channel)
    series = _time(loaded, settings, warmup, channel)
    _save(request["output_dir"], warmup=warmup, latency=series)
    if request.get("evaluation"):
        loaded.figures["evaluation"] = _evaluate(loaded, request, channel)
    return loaded.figures


def _load(request: "Dict[str, Any]") -> Loaded:
    open_model = import_backend(request["backend"])
    may_reset = memory.reset_peak()
    after_import = memory.resident_bytes()
    started = monotonic_ns()
    model = open_model(LoadRequest(request["artifact"], request["settings"]["threads"], request.get("options", {})))
    load_ms = (monotonic_ns() - started) / 1e6
    figures = {
        "load_ms": load_ms,
        "memory": {
            "after_import_bytes": after_import,
            "after_load_bytes": memory.resident_bytes(),
            "peak_load_bytes": memory.peak_bytes() if may_reset else None,
        },
        "runtime": model.facts,
        "affinity": sorted(os.sched_getaffinity(0)),
        "inputs": [list(value) for value in model.inputs],
        "outputs": [list(value) for value in model.outputs],
    }
    batch = batch_size(model.inputs, request["settings"]["batch"])
    figures["batch"] = batch
    return Loaded(model, batch, _feeds(request, model, batch), figures)


def _feeds(request: "Dict[str, Any]", model: Model, batch: int) -> "List[Any]":
    """Prepared inputs of the timed part; the whole evaluation set does not stay in memory."""
    if not request.get("evaluation"):
        return [model.prepare(random_batch(model.inputs, batch, request["settings"]["seed"]))]
    data = _evaluation_set(request, model)
    return [model.prepare(arrays) for arrays in pool_of_batches(data, batch)]


def _evaluation_set(request: "Dict[str, Any]", model: Model) -> EvaluationSet:
    return read_evaluation(request["evaluation"], model.inputs, request["settings"].get("evaluation_limit"))


def _first_inference(loaded: Loaded) -> "Tuple[float, int]":
    """The first inference in ms, and how many of its samples came out as NaN or infinity."""
    memory_figures = loaded.figures["memory"]
    may_reset = memory.reset_peak()
    started = monotonic_ns()
    result = loaded.model.invoke(loaded.feeds[0])
    first_ms = (monotonic_ns() - started) / 1e6
    memory_figures["peak_reset"] = may_reset
    return first_ms, count_non_finite(loaded.model.read_outputs(result), loaded.batch, loaded.batch)


def _warm_up(loaded: Loaded, settings: "Dict[str, Any]", first_ms: float, channel: Channel) -> Series:
    """Inferences that are kept apart; memory is read here, before the timed part's arrays take their share."""
    seconds, iterations = settings["warmup_seconds"], settings["warmup_iterations"]
    expected_s = max(seconds, iterations * first_ms / 1e3)
    channel.enter("warmup", silent_for_s=2 * expected_s + 1)
    if seconds == 0 and iterations == 0:
        series = Series(array("q"), array("q"), 0.0)
    else:
        window = Window(seconds, iterations, NO_LIMIT_S)
        series = run_timed(loaded.model.invoke, loaded.feeds, window, WARMUP_CAPACITY)
    figures = loaded.figures["memory"]
    figures["peak_run_bytes"] = memory.peak_bytes() if figures.pop("peak_reset") else None
    figures["pss_bytes"] = memory.proportional_bytes()
    return series


def _time(loaded: Loaded, settings: "Dict[str, Any]", warmup: Series, channel: Channel) -> Series:
    window = Window(settings["seconds"], settings["min_samples"], max(settings["max_seconds"], settings["seconds"]))
    typical_ns = (
        statistics.median(warmup.latency_ns) if warmup.latency_ns else loaded.figures["first_inference_ms"] * 1e6
    )
    fastest_ns = min(warmup.latency_ns) if warmup.latency_ns else int(typical_ns)
    expected_s = max(window.seconds, 1.2 * window.min_samples * typical_ns / 1e9)
    silent_for_s = min(window.max_seconds, 1.5 * expected_s) + 2 * typical_ns / 1e9 + 1
    capacity = capacity_for(window, fastest_ns)
    channel.enter("measure", silent_for_s=silent_for_s)
    series = run_timed(loaded.model.invoke, loaded.feeds, window, capacity)
    loaded.figures["timed"] = {"n": len(series.latency_ns), "cpu_s": series.cpu_s, "span_s": series.span_s}
    channel.enter("measured")
    return series


def _evaluate(loaded: Loaded, request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    channel.enter("evaluate")
    data = _evaluation_set(request, loaded.model)
    last = [time.perf_counter()]

    def on_progress(n_done: int) -> None:
        if time.perf_counter() - last[0] >= PROGRESS_S:
            last[0] = time.perf_counter()
            channel.send("progress", n_done=n_done, n=data.n)

    predictions = evaluate(loaded.model, data, loaded.batch, on_progress)
    facts: "Dict[str, Any]" = {"n": data.n, "n_non_finite": predictions.n_non_finite}
    facts.update(has_labels=data.labels is not None, has_classes=predictions.classes is not None)
    if predictions.classes is not None:
        np.save(os.path.join(request["output_dir"], "predictions.npy"), predictions.classes, allow_pickle=False)
        facts["n_correct"] = _count_correct(predictions.classes, data.labels)
    return facts


def _count_correct(classes: "np.ndarray[Any, Any]", labels: "Optional[np.ndarray[Any, Any]]") -> "Optional[int]":
    if labels is None or labels.ndim != 1:
        return None
    return int((classes == labels).sum())


def _save(output_dir: str, **series: Series) -> None:
    for name, values in series.items():
        columns = np.array([values.start_ns, values.latency_ns], dtype=np.int64)
        np.save(os.path.join(output_dir, name + ".npy"), columns, allow_pickle=False)
