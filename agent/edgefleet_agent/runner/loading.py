"""Loading an artifact and preparing what it is fed with."""

import os
from typing import Any, Dict, List, NamedTuple

from edgefleet_agent.runner import memory
from edgefleet_agent.runner.backend import LoadRequest, Model, import_backend
from edgefleet_agent.runner.caches import cached_share, evict_from_page_cache
from edgefleet_agent.runner.inputs import EvaluationSet, batch_size, pool_of_batches, random_batch, read_evaluation
from edgefleet_agent.runner.timing import monotonic_ns


class Loaded(NamedTuple):
    """A loaded model with its batch, prepared inputs and figures so far."""

    model: Model
    batch: int
    feeds: "List[Any]"
    figures: "Dict[str, Any]"


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
    model = open_model(load_request(request))
    built_ms = (model.facts.get("engine") or {}).get("build_ms") or 0.0
    load_ms = (monotonic_ns() - started) / 1e6 - built_ms  # a build is no load, see prepare.py
    figures = {
        "import_ms": import_ms,
        "load_ms": load_ms,
        "caches": caches,
        "memory": {
            "after_import_bytes": after_import,
            "after_load_bytes": memory.resident_bytes(),
            "peak_load_bytes": memory.peak_bytes() if may_reset else None,
        },
        "runtime": {name: value for name, value in model.facts.items() if name != "placement"},
        "placement": model.facts.get("placement"),
        "affinity": sorted(os.sched_getaffinity(0)),
        "inputs": [list(value) for value in model.inputs],
        "outputs": [list(value) for value in model.outputs],
    }
    batch = batch_size(model.inputs, settings["batch"])
    figures["batch"] = batch
    return Loaded(model, batch, make_feeds(request, model, batch), figures)


def load_request(request: "Dict[str, Any]") -> LoadRequest:
    """What the backend is told."""
    settings, options = request["settings"], dict(request.get("options", {}))
    if settings.get("delegate"):
        options["delegate"] = settings["delegate"]
    if settings.get("provider"):
        options["provider"] = settings["provider"]
    return LoadRequest(request["artifact"], settings["threads"], options)


def make_feeds(request: "Dict[str, Any]", model: Model, batch: int) -> "List[Any]":
    """Prepared inputs of the timed part; the whole evaluation set does not stay in memory."""
    if not request.get("evaluation"):
        return [model.prepare(random_batch(model.inputs, batch, request["settings"]["seed"]))]
    data = read_evaluation_set(request, model)
    return [model.prepare(arrays) for arrays in pool_of_batches(data, batch)]


def read_evaluation_set(request: "Dict[str, Any]", model: Model) -> EvaluationSet:
    """The evaluation set, or as many of its samples as the settings allow."""
    settings = request["settings"]
    layouts = request.get("options", {}).get("layouts", {})
    return read_evaluation(
        request["evaluation"], model.inputs, settings.get("evaluation_limit"), settings["seed"], layouts
    )
