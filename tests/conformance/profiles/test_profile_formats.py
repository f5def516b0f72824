"""Every format of imported profiles: what it reads, and that nothing else gets past it.

The files are written by hand after the sources of the tools that write them; their figures are therefore known.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from edgefleet_controller.imports.errors import ProfileRefused, UnknownProfileFormat
from edgefleet_controller.imports.formats import FORMATS, format_called
from edgefleet_controller.imports.profile import Profile

LATENCIES_MS = (1.25, 1.5, 1.0, 2.0)


def trtexec_times(values_ms: tuple[float, ...] = LATENCIES_MS) -> bytes:
    """As exportJSONTrace of TensorRT 10 writes it."""
    rows = [
        {"startEnqMs": i, "endEnqMs": i + 0.1, "startH2dMs": i, "endH2dMs": i + 0.1, "startComputeMs": i + 0.1}
        | {"endComputeMs": i + 0.5, "h2dMs": 0.1, "computeMs": 0.5 + i, "d2hMs": 0.05, "latencyMs": value}
        for i, value in enumerate(values_ms)
    ]
    return json.dumps(rows).encode()


def perf_test(values_ms: tuple[float, ...] = LATENCIES_MS) -> bytes:
    """As PerformanceResult::DumpToFile writes it with -s."""
    lines = [f"resnet,50,{value / 1e3},73400320,98,{i}" for i, value in enumerate(values_ms)]
    return "\n".join([*lines, "", "Min Latency is 0.001sec", "P50 Latency is 0.0015sec"]).encode()


def loadgen(values_ms: tuple[float, ...] = LATENCIES_MS, **changes: object) -> bytes:
    """As LoadGen's detail log has it: keys and values among others; percentiles by the nearest rank."""
    ordered = sorted(values_ms)
    values = {
        "loadgen_version": "1.1",
        "requested_scenario": "SingleStream",
        "requested_test_mode": "PerformanceOnly",
        "effective_scenario": "SingleStream",
        "result_validity": "VALID",
        "result_query_count": len(ordered),
    }
    for share in (50.0, 90.0, 99.0):
        rank = min(int(len(ordered) * share / 100), len(ordered) - 1)
        values[f"result_{share:.2f}_percentile_latency_ns"] = int(ordered[rank] * 1e6)
    metadata = {"is_error": False, "file": "loadgen.cc", "line_no": 1}
    lines = [
        f":::MLLOG {json.dumps({'key': key, 'value': value, 'time_ms': 0.1, 'metadata': metadata})}"
        for key, value in (values | changes).items()
    ]
    return "\n".join(["loading", *lines]).encode()


@dataclass(frozen=True)
class Sample:
    """A way to write files of a format. has_latencies: whether they hold single latencies."""

    write: Callable[[tuple[float, ...]], bytes]
    has_latencies: bool


SAMPLES = {
    "trtexec-times": Sample(trtexec_times, has_latencies=True),
    "onnxruntime-perf-test": Sample(perf_test, has_latencies=True),
    "mlperf-loadgen-detail": Sample(loadgen, has_latencies=False),
}


def test_every_format_is_tested() -> None:
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
class TestFormat:
    """What holds for every format."""

    def read(self, name: str, data: bytes) -> Profile:
        return format_called(name).read(data)

    def test_its_file_is_read(self, name: str) -> None:
        profile = self.read(name, SAMPLES[name].write(LATENCIES_MS))
        if SAMPLES[name].has_latencies:
            assert profile.latency_ns is not None
            assert profile.latency_ns.tolist() == [1_250_000, 1_500_000, 1_000_000, 2_000_000]
        else:
            assert (profile.n, profile.percentiles_ms) == (4, {"p50": 1.5, "p90": 2.0, "p99": 2.0})
        assert profile.tool == FORMATS[name].tool
        assert not profile.is_invalid

    @pytest.mark.parametrize("other", [*FORMATS, "nothing", "noise", "text", "deep"])
    def test_other_files_are_refused(self, name: str, other: str) -> None:
        noise = np.random.default_rng(0).bytes(4096)
        files = {"nothing": b"", "noise": noise, "text": b"p50 1.5 ms\n", "deep": b"[" * 100_000}
        if other != name:
            with pytest.raises(ProfileRefused):
                self.read(name, files[other] if other in files else SAMPLES[other].write(LATENCIES_MS))

    @pytest.mark.parametrize("wrong", [0.0, -1.0, 1e15])
    def test_what_is_no_latency_is_refused(self, name: str, wrong: float) -> None:
        with pytest.raises(ProfileRefused):
            self.read(name, SAMPLES[name].write((wrong,)))

    def test_a_file_that_was_cut_off_in_its_first_line_is_refused(self, name: str) -> None:
        with pytest.raises(ProfileRefused):
            self.read(name, SAMPLES[name].write(LATENCIES_MS)[:15])


def test_trtexec_of_older_versions_is_read() -> None:
    row = {
        "startInMs": 0.1,
        "endInMs": 0.2,
        "inMs": 0.1,
        "computeMs": 0.7,
        "outMs": 0.2,
        "latencyMs": 1.0,
        "endToEndMs": 1.1,
    }
    profile = format_called("trtexec-times").read(json.dumps([row]).encode())
    assert profile.latency_ns is not None
    assert profile.latency_ns.tolist() == [1_000_000]


def test_profiles_of_layers_by_trtexec_are_refused_with_a_hint() -> None:
    with pytest.raises(ProfileRefused, match="exportProfile"):
        format_called("trtexec-times").read(json.dumps([{"count": 100}, {"name": "conv", "timeMs": 1.0}]).encode())


def test_runs_of_two_models_in_one_file_are_refused() -> None:
    data = perf_test().split(b"\n\n")[0] + b"\nother,0.001,1,1,4\n"
    with pytest.raises(ProfileRefused, match="several models"):
        format_called("onnxruntime-perf-test").read(data)


@pytest.mark.parametrize("scenario", ["Server", "Offline", None])
def test_latencies_that_hold_a_queue_are_refused(scenario: str | None) -> None:
    with pytest.raises(ProfileRefused, match="scenario"):
        format_called("mlperf-loadgen-detail").read(loadgen(effective_scenario=scenario))


def test_an_accuracy_run_is_refused() -> None:
    with pytest.raises(ProfileRefused, match="performance"):
        format_called("mlperf-loadgen-detail").read(loadgen(requested_test_mode="AccuracyOnly"))


def test_what_loadgen_calls_invalid_is_invalid() -> None:
    assert format_called("mlperf-loadgen-detail").read(loadgen(result_validity="INVALID")).is_invalid


def test_percentiles_that_fall_are_refused() -> None:
    fallen = loadgen(LATENCIES_MS, **{"result_99.00_percentile_latency_ns": 1})
    with pytest.raises(ProfileRefused, match="fall"):
        format_called("mlperf-loadgen-detail").read(fallen)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownProfileFormat, match="trtexec-times"):
        format_called("nvprof")
