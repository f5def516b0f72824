"""One measurement from load to evaluation, in the order in which the phases must not disturb each other."""

import gc
import os
import statistics
import sys
import time
import traceback
from array import array
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from edgefleet_agent.runner import memory
from edgefleet_agent.runner.backend import LoadRequest, Model, import_backend
from edgefleet_agent.runner.caches import cached_share, evict_from_page_cache
from edgefleet_agent.runner.evaluation import count_non_finite, evaluate
from edgefleet_agent.runner.inputs import (
    EvaluationSet,
    batch_size,
    pool_of_batches,
    random_batch,
    read_evaluation,
)
from edgefleet_agent.runner.paced import run_duty_cycle, run_open_loop, schedule_arrivals
from edgefleet_agent.runner.protocol import Channel
from edgefleet_agent.runner.timing import Series, Window, capacity_for, monotonic_ns, run_timed
from edgefleet_agent.runner.watch import SegmentWatch, Usage, count_threads, read_usage

PROGRESS_S = 2.0
"""Seconds between the evaluation's signs of life."""

WARMUP_CAPACITY = 4096
"""Room for the warm-up's samples; more would show in the memory figures."""

NO_LIMIT_S = 1e6

WARM_LOAD_LIMIT_MS = 10000.0
"""A load longer than this is not repeated: an engine that takes minutes to build would take them twice."""


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
    loaded = load(request)
    warmup = make_ready(loaded, settings, channel)
    watch = SegmentWatch()
    series = _time(loaded, settings, warmup, watch, channel)
    _save(request["output_dir"], "warmup", _rows(warmup))
    _save(request["output_dir"], "latency", _rows(series))
    _save(request["output_dir"], "segments", watch.columns())
    if request.get("evaluation") and request.get("evaluation_wanted", True):
        loaded.figures["evaluation"] = _evaluate(loaded, request, channel)
    figures = loaded.figures
    del loaded  # the model is released before its file is loaded again
    figures["warm_load_ms"] = _load_again(request, figures["load_ms"]) if request.get("warm_load") else None
    return figures


def make_ready(loaded: Loaded, settings: "Dict[str, Any]", channel: Channel) -> Series:
    """First inference and warm-up; their figures are kept in ``loaded``, the warm-up's samples are returned."""
    first_ms, n_non_finite = _first_inference(loaded)
    loaded.figures.update(first_inference_ms=first_ms, n_non_finite_first=n_non_finite)
    return _warm_up(loaded, settings, first_ms, channel)


def load(request: "Dict[str, Any]") -> Loaded:
    """Load the artifact for the first time in this process and prepare its inputs."""
    settings, artifact = request["settings"], request["artifact"]
    if request.get("cores"):
        os.sched_setaffinity(0, request["cores"])  # the rest belongs to the sampler
    started = monotonic_ns()
    open_model = import_backend(request["backend"])
    import_ms = (monotonic_ns() - started) / 1e6
    evict_from_page_cache(artifact)
    caches = {"artifact_cached_share": cached_share(artifact), "library": "imported"}
    may_reset = memory.reset_peak()
    after_import = memory.resident_bytes()
    started = monotonic_ns()
    model = open_model(_load_request(request))
    load_ms = (monotonic_ns() - started) / 1e6
    figures = {
        "import_ms": import_ms,
        "load_ms": load_ms,
        "caches": caches,
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
    batch = batch_size(model.inputs, settings["batch"])
    figures["batch"] = batch
    return Loaded(model, batch, _feeds(request, model, batch), figures)


def _load_request(request: "Dict[str, Any]") -> LoadRequest:
    return LoadRequest(request["artifact"], request["settings"]["threads"], request.get("options", {}))


def _load_again(request: "Dict[str, Any]", cold_ms: float) -> "Optional[float]":
    """Warm load in ms: same process, same file, caches warm; None where it is too slow to repeat or fails."""
    if cold_ms > WARM_LOAD_LIMIT_MS:
        return None
    gc.collect()
    open_model = import_backend(request["backend"])
    started = monotonic_ns()
    try:
        open_model(_load_request(request))
    except Exception:  # noqa: BLE001 - whatever it is, the figures measured before are worth keeping
        sys.stderr.write(traceback.format_exc())
        return None
    return (monotonic_ns() - started) / 1e6


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


def _time(loaded: Loaded, settings: "Dict[str, Any]", warmup: Series, watch: SegmentWatch, channel: Channel) -> Series:
    window = Window(settings["seconds"], settings["min_samples"], max(settings["max_seconds"], settings["seconds"]))
    typical_ns = (
        statistics.median(warmup.latency_ns) if warmup.latency_ns else loaded.figures["first_inference_ms"] * 1e6
    )
    fastest_ns = min(warmup.latency_ns) if warmup.latency_ns else int(typical_ns)
    period_ns = max(typical_ns, 1e9 / settings["rate_per_s"]) if settings.get("rate_per_s") else typical_ns
    expected_s = max(window.seconds, 1.2 * window.min_samples * period_ns / 1e9)
    silent_for_s = min(window.max_seconds, 1.5 * expected_s) + 2 * typical_ns / 1e9 + 1
    capacity = capacity_for(window, fastest_ns)
    channel.enter("measure", silent_for_s=silent_for_s)
    before = read_usage()
    series = _run_mode(loaded, settings, window, capacity, watch)
    after = read_usage()
    loaded.figures["timed"] = {
        "n": len(series.latency_ns),
        "cpu_s": series.cpu_s,
        "span_s": series.span_s,
        "n_unserved": series.n_unserved,
        "behind_s": series.behind_s,
    }
    loaded.figures["counters"] = _counters(before, after, watch)
    channel.enter("measured")
    return series


def _run_mode(loaded: Loaded, settings: "Dict[str, Any]", window: Window, capacity: int, watch: SegmentWatch) -> Series:
    mode, invoke, feeds = settings.get("mode", "back_to_back"), loaded.model.invoke, loaded.feeds
    if mode == "open_loop":
        offsets = schedule_arrivals(window, settings["rate_per_s"], settings["arrivals"], settings["seed"])
        return run_open_loop(invoke, feeds, offsets, window.max_seconds, watch)
    if mode == "duty_cycle":
        return run_duty_cycle(invoke, feeds, window, settings["rate_per_s"], watch)
    return run_timed(invoke, feeds, window, capacity, watch)


def _counters(before: Usage, after: Usage, watch: SegmentWatch) -> "Dict[str, Any]":
    cores = watch.columns()[4]
    waits = (before.core_wait_ns, after.core_wait_ns)
    return {
        "major_faults": after.major_faults - before.major_faults,
        "involuntary_switches": after.involuntary_switches - before.involuntary_switches,
        "voluntary_switches": after.voluntary_switches - before.voluntary_switches,
        "core_wait_s": None if waits[0] is None or waits[1] is None else (waits[1] - waits[0]) / 1e9,
        "migrations": sum(a != b for a, b in zip(cores, cores[1:])),
        "n_threads": count_threads(),
    }


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


def _rows(series: Series) -> "List[Any]":
    extra = [] if series.service_ns is None else [series.service_ns]
    return [series.start_ns, series.latency_ns] + extra


def _save(output_dir: str, name: str, rows: "List[Any]") -> None:
    np.save(os.path.join(output_dir, name + ".npy"), np.array(rows, dtype=np.int64), allow_pickle=False)
