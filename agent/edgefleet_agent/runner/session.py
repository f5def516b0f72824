"""One measurement from load to evaluation, in the order in which the phases must not disturb each other."""

import gc
import os
import statistics
import time
from array import array
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from edgefleet_agent.runner import memory
from edgefleet_agent.runner.again import load_again, profile_again
from edgefleet_agent.runner.evaluation import count_non_finite, evaluate
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.golden import check_golden
from edgefleet_agent.runner.loading import Loaded, load, read_evaluation_set
from edgefleet_agent.runner.paced import run_duty_cycle, run_open_loop, schedule_arrivals
from edgefleet_agent.runner.protocol import Channel
from edgefleet_agent.runner.timing import Series, Window, capacity_for, monotonic_ns, run_timed
from edgefleet_agent.runner.watch import SegmentWatch, Usage, count_threads, read_usage

PROGRESS_S = 2.0
"""Seconds between the evaluation's signs of life."""

WARMUP_CAPACITY = 4096
"""Room for the warm-up's samples; more would show in the memory figures."""

NO_LIMIT_S = 1e6


def measure(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    """Run all phases; raw series are written as npy files into ``output_dir``, figures are returned."""
    settings = request["settings"]
    channel.enter("load")
    loaded = load(request)
    warmup = make_ready(loaded, settings, channel, request.get("golden"))
    watch = SegmentWatch()
    series = _time(loaded, settings, warmup, watch, channel)
    _save(request["output_dir"], "warmup", _rows(warmup))
    _save(request["output_dir"], "latency", _rows(series))
    _save(request["output_dir"], "segments", watch.columns())
    if request.get("evaluation") and request.get("evaluation_wanted", True):
        loaded.figures["evaluation"] = _evaluate(loaded, request, channel)
    figures = loaded.figures
    del loaded  # the model is released before its file is loaded again
    figures["warm_load_ms"] = load_again(request, figures["load_ms"]) if request.get("warm_load") else None
    if request.get("profile_wanted") and figures["placement"] is None:
        figures["profile"] = profile_again(request, figures["load_ms"])
    return figures


def make_ready(
    loaded: Loaded, settings: "Dict[str, Any]", channel: Channel, golden_path: "Optional[str]" = None
) -> Series:
    """First inference, golden outputs and warm-up; their figures are kept in ``loaded``, the warm-up's samples are returned.

    The golden outputs come second, so that the first inference is the first and nothing is timed for long before them.
    """
    first_ms, n_non_finite = _first_inference(loaded)
    loaded.figures.update(first_inference_ms=first_ms, n_non_finite_first=n_non_finite)
    if golden_path is not None:
        channel.enter("golden", silent_for_s=0.0)
        loaded.figures["golden"] = _check_golden(loaded, golden_path)
    return _warm_up(loaded, settings, first_ms, channel)


def _check_golden(loaded: Loaded, path: str) -> "Dict[str, Any]":
    """Figures of the check; what it needs of memory is left out of the peak."""
    figures = loaded.figures["memory"]
    figures["peak_first_bytes"] = memory.peak_bytes() if figures["peak_reset"] else None
    result = check_golden(loaded.model, loaded.batch, path)
    gc.collect()
    figures["peak_reset"] = memory.reset_peak() and figures["peak_reset"]
    return result


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
    if loaded.model.time_series is not None or (seconds == 0 and iterations == 0):
        series = Series(array("q"), array("q"), 0.0)
    else:
        window = Window(seconds, iterations, NO_LIMIT_S)
        series = run_timed(loaded.model.invoke, loaded.feeds, window, WARMUP_CAPACITY)
    figures = loaded.figures["memory"]
    peaks = [memory.peak_bytes() if figures.pop("peak_reset") else None, figures.pop("peak_first_bytes", 0)]
    known = [peak for peak in peaks if peak is not None]
    figures["peak_run_bytes"] = max(known) if len(known) == len(peaks) else None
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
    if loaded.model.time_series is not None:
        return _run_elsewhere(loaded, mode, window, watch)
    if mode == "open_loop":
        offsets = schedule_arrivals(window, settings["rate_per_s"], settings["arrivals"], settings["seed"])
        return run_open_loop(invoke, feeds, offsets, window.max_seconds, watch)
    if mode == "duty_cycle":
        return run_duty_cycle(invoke, feeds, window, settings["rate_per_s"], watch)
    return run_timed(invoke, feeds, window, capacity, watch)


def _run_elsewhere(loaded: Loaded, mode: str, window: Window, watch: SegmentWatch) -> Series:
    """The timed part of a runtime that times itself; the first inference's time here is that of starting it, so unknown."""
    if mode != "back_to_back" or loaded.model.time_series is None:
        raise RunnerFailure("not_supported", "this runtime times itself, and back_to_back only; choose that mode")
    watch.begin(monotonic_ns())
    series: Series = loaded.model.time_series(loaded.feeds[0], window)
    watch.close(len(series.latency_ns), monotonic_ns())
    loaded.figures["first_inference_ms"] = None
    return series


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
    data = read_evaluation_set(request, loaded.model)
    last = [time.perf_counter()]

    def on_progress(n_done: int) -> None:
        if time.perf_counter() - last[0] >= PROGRESS_S:
            last[0] = time.perf_counter()
            channel.send("progress", n_done=n_done, n=data.n)

    predictions = evaluate(loaded.model, data, loaded.batch, on_progress)
    facts: "Dict[str, Any]" = {"n": data.n, "n_available": data.n_available, "sampling": data.sampling}
    facts["n_non_finite"] = predictions.n_non_finite
    facts.update(has_labels=data.labels is not None, has_classes=predictions.classes is not None)
    if predictions.classes is not None:
        _save(request["output_dir"], "predictions", [data.rows, predictions.classes])
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
