"""``mlperf_log_detail.txt`` of MLPerf's LoadGen: lines of ``:::MLLOG`` and a JSON object with ``key`` and ``value``.

mlcommons/inference, loadgen/logging.cc and results.cc: ``result_50.00_percentile_latency_ns`` and its like,
``result_query_count`` (``result_total_query_count`` and ``generated_query_count`` in other versions) and ``result_validity``.
Only the scenarios SingleStream and MultiStream time one query after the other, as a run of ours does; in Server and Offline
latency holds what queued before.
"""

import json
from collections.abc import Mapping
from typing import Any

from edgefleet_controller.imports.errors import ProfileRefused
from edgefleet_controller.imports.profile import Profile

PREFIX = ":::MLLOG"
KEYS: Mapping[str, str] = {
    name: f"result_{share:.2f}_percentile_latency_ns" for name, share in (("p50", 50), ("p90", 90), ("p99", 99))
}
COUNTS = ("result_query_count", "result_total_query_count", "generated_query_count")
SCENARIOS = ("SingleStream", "MultiStream")


class LoadgenDetail:
    """Percentiles of a run of MLPerf's LoadGen. A run that LoadGen calls INVALID is one here."""

    name = "mlperf-loadgen-detail"
    tool = "MLPerf LoadGen"
    how = "mlperf_log_detail.txt in LoadGen's output folder"

    def read(self, data: bytes) -> Profile:
        """The percentiles of the run, in ms."""
        values = _values(data)
        scenario = values.get("effective_scenario", values.get("requested_scenario"))
        if scenario not in SCENARIOS:
            raise ProfileRefused(
                f"The scenario is {scenario!r}; latencies of {' and '.join(SCENARIOS)} can be compared with a run's."
            )
        if values.get("requested_test_mode", "PerformanceOnly") != "PerformanceOnly":
            raise ProfileRefused("The log is not of a performance run (requested_test_mode).")
        count = next((values[key] for key in COUNTS if key in values), 0)
        facts = {
            "scenario": scenario,
            "validity": values.get("result_validity"),
            "version": values.get("loadgen_version"),
        }
        return Profile(
            self.tool,
            percentiles_ms={name: _ns(values, key) / 1e6 for name, key in KEYS.items() if key in values},
            n=count if isinstance(count, int) and not isinstance(count, bool) else 0,
            is_invalid=values.get("result_validity") != "VALID",
            facts={name: value for name, value in facts.items() if isinstance(value, str)},
        )


def _values(data: bytes) -> dict[str, Any]:
    """Key -> value of the log; the last line of a key counts."""
    found: dict[str, Any] = {}
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        if not line.startswith(PREFIX):
            continue
        try:
            entry = json.loads(line.removeprefix(PREFIX))
            found[entry["key"]] = entry["value"]
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise ProfileRefused(f"Line {number} is not {PREFIX} with an object that has key and value.") from err
    if not found:
        raise ProfileRefused(f"No line begins with {PREFIX}; mlperf_log_summary.txt is another file.")
    return found


def _ns(values: Mapping[str, Any], key: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProfileRefused(f"{key} is not a number.")
    return float(value)
