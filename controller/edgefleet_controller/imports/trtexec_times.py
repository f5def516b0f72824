"""The JSON that ``trtexec --exportTimes=FILE`` writes: one object for each inference, times in ms.

NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONTrace: ``latencyMs`` is the sum of copying in, computing and
copying out; TensorRT before 8.6 calls the copies ``inMs`` and ``outMs``, later ones ``h2dMs`` and ``d2hMs``.
"""

import json
from typing import Any

from edgefleet_controller.imports.errors import ProfileRefused
from edgefleet_controller.imports.profile import Profile, to_ns

KEY = "latencyMs"
COMPUTE = "computeMs"


class TrtexecTimes:
    """Times of single inferences by trtexec. The latency is that of a query: both copies and the computation."""

    name = "trtexec-times"
    tool = "trtexec"
    how = "trtexec --loadEngine=FILE --exportTimes=times.json"

    def read(self, data: bytes) -> Profile:
        """The latencies of all inferences, with the median of the computation alone among the facts."""
        rows = _rows(data)
        compute = sorted(value for value in (row.get(COMPUTE) for row in rows) if isinstance(value, int | float))
        facts = {"median_compute_ms": compute[len(compute) // 2]} if compute else {}
        return Profile(self.tool, to_ns([_latency(row, i) for i, row in enumerate(rows)], 1e-3), facts=facts)


def _rows(data: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise ProfileRefused(f"The file is not JSON ({err}); trtexec writes JSON with --exportTimes.") from err
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise ProfileRefused("The file is not a list of objects, one for each inference, as --exportTimes writes it.")
    return document


def _latency(row: dict[str, Any], index: int) -> float:
    value = row.get(KEY)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileRefused(f"Inference {index + 1} has no number {KEY!r}; --exportProfile writes another file.")
    return float(value)
