"""What the runner must know to build an engine on this device, or to find the one it built before."""

from edgefleet_agent.measure.runtimes import runtime_named
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.base import JsonObject


def engine_options(subject: Subject, bench: Bench) -> JsonObject:
    """Options for a runtime that builds engines: plan, tensors and batch, and where engines are kept; else none."""
    if runtime_named(subject.runtime, bench.runtimes).build_s == 0:
        return {}
    store = bench.engines
    kept = None
    if store is not None:
        kept = {
            "folder": str(store.folder.resolve()),
            "max_bytes": store.max_bytes,
            "free_floor_bytes": store.free_floor_bytes,
        }
    return {
        "artifact_sha256": subject.artifact.sha256,
        "build_plan": subject.manifest.get("build_plan"),
        "inputs": subject.manifest.get("inputs"),
        "outputs": subject.manifest.get("outputs"),
        "batch": subject.settings.batch,
        "engine_cache": kept,
    }
