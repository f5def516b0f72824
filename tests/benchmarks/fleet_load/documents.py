"""What simulated agents send: facts, claims, reports with their raw samples."""

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from edgefleet_agent.statistics import summarize_latency
from edgefleet_agent.wire.samples import encode_samples

JsonObject = dict[str, Any]
N_LATENCIES = 1000
FACTS: JsonObject = {
    "agent_version": "0.1.0",
    "board": "bench-board",
    "hostname": "bench",
    "machine": "x86_64",
    "system": "Linux",
    "cpu_model": "none",
    "n_cores": 4,
    "memory_bytes": 1 << 30,
    "runtimes": [{"name": "onnxruntime", "version": "1", "interpreter": "python3", "python_version": "3.11"}],
}


def encode_json(document: object) -> bytes:
    """Compact JSON."""
    return json.dumps(document, separators=(",", ":")).encode()


FACTS_SHA256 = hashlib.sha256(encode_json(FACTS)).hexdigest()


@dataclass(frozen=True)
class Measured:
    """Raw samples of one simulated run and the report without its artifact."""

    blob: bytes
    sha256: str
    report: JsonObject

    def report_on(self, artifact: JsonObject) -> JsonObject:
        """The report about this artifact."""
        return self.report | {"artifact": artifact}


def measured(seed: int) -> Measured:
    """1,000 latencies around 1 ms and what an agent says about them."""
    rng = random.Random(seed)
    latencies_ns = [1_000_000 + int(rng.expovariate(1e-5)) for _ in range(N_LATENCIES)]
    blob = encode_samples({"start_ns": list(range(0, 2_000_000 * N_LATENCIES, 2_000_000)), "latency_ns": latencies_ns})
    sha256 = hashlib.sha256(blob).hexdigest()
    figures = summarize_latency(latencies_ns)
    latency = {"n": figures.n, **figures.percentiles, "mean": figures.mean, "minimum": figures.minimum}
    report = {
        "agent_version": "0.1.0",
        "provenance": "simulated",
        "latency_ms": {**latency, "maximum": figures.maximum, "intervals": figures.intervals},
        "energy": {"value_mj": None, "reason": "no_sensor"},
        "accuracy": {"value": 0.97, "n": 100, "n_correct": 97},
        "memory": {
            "after_import_bytes": 1,
            "after_load_bytes": 1,
            "peak_load_bytes": 1,
            "peak_run_bytes": 5_000_000,
            "peak_memory_bytes": 5_000_000,
        },
        "verdict": {"status": "valid"},
        "samples": {"latency": {"sha256": sha256, "size_bytes": len(blob)}},
    }
    return Measured(blob, sha256, report)
