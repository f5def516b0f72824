"""The energy meter is begun and ended around the timed part, and ended whatever happens to the run."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.measure.artifact import Bench, Measurement, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.meter import EnergyMeter, Metered, NoSensor, TimedPart
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.report import EnergySummary


class WatchedMeter(NoSensor):
    """Notes what it is asked to do, and claims 2 mJ for every inference."""

    extra_s = 3.0

    def __init__(self, **energy: Any) -> None:
        self.calls: list[str] = []
        self.energy = {"value_mj": 2.0, **energy}

    def least_timed_s(self, n_launches: int) -> float:
        return 0.2 / n_launches

    def look(self) -> None:
        self.calls.append("look")

    def begin(self) -> None:
        self.calls.append("begin")

    def end(self) -> None:
        self.calls.append("end")

    def close(self) -> None:
        self.calls.append("close")

    def collect(self, part: TimedPart) -> Metered:
        self.calls.append("collect")
        return Metered(part)

    def summarize(self, launches: Sequence[Metered]) -> EnergySummary:
        self.calls.append("summarize")
        counts = {"n": sum(len(one.part.start_ns) for one in launches), "n_launches": len(launches)}
        return EnergySummary(**{"detail": counts, **self.energy})

    def blobs(self, launches: Sequence[Metered]) -> dict[str, bytes]:
        return {"power": b"samples"}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    settings = MeasureSettings(seconds=0.01, min_samples=11, warmup_seconds=0.0, warmup_iterations=2)
    return Subject(
        path=path,
        artifact=blob_ref(path.read_bytes()),
        runtime="onnxruntime",
        settings=settings,
        interpreter=sys.executable,
    )


def measure(subject: Subject, meter: EnergyMeter, on_phase: Callable[[str, float], None]) -> Measurement:
    return measure_artifact(subject, Bench(meter=meter, on_phase=on_phase))


def test_meter_is_used_around_the_timed_part(subject: Subject) -> None:
    meter = WatchedMeter()
    silences: dict[str, float] = {}
    measurement = measure(subject, meter, silences.__setitem__)
    assert meter.calls == ["look", "begin", "end", "collect", "close", "summarize"]
    assert silences["measure"] > meter.extra_s
    report = measurement.report
    assert report.energy is not None
    assert report.latency_ms is not None
    assert (report.energy.value_mj, report.energy.detail) == (2.0, {"n": report.latency_ms.n, "n_launches": 1})
    assert "power" in report.samples


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core can't be reserved out of one")
def test_runner_keeps_off_the_samplers_core(subject: Subject) -> None:
    allowed = os.sched_getaffinity(0)

    class Reserving(WatchedMeter):
        def reserve_core(self, n_threads: int) -> "int | None":
            return max(allowed) if n_threads < len(allowed) else None

    report = measure(subject, Reserving(), lambda _phase, _silent_for_s: None).report
    assert report.environment is not None
    assert report.environment.affinity == sorted(allowed - {max(allowed)})


def test_timed_part_is_as_long_as_the_meter_needs(subject: Subject) -> None:
    report = measure(subject, WatchedMeter(), lambda _phase, _silent_for_s: None).report
    assert report.environment is not None
    assert report.environment.settings["seconds_used"] == 0.2
    span_ns = report.environment.after.monotonic_ns - report.environment.before.monotonic_ns
    assert span_ns >= 0.2e9


def test_meter_is_closed_when_the_run_fails(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    meter = WatchedMeter()
    report = measure(replace(subject, path=tmp_path / "bad.onnx"), meter, lambda _phase, _silent_for_s: None).report
    assert report.error is not None
    assert meter.calls == ["close"]


def test_board_without_a_sensor_says_so() -> None:
    meter: EnergyMeter = NoSensor()
    meter.look()
    meter.begin()
    meter.end()
    meter.close()
    assert meter.blobs([]) == {}


def quiet(_phase: str, _silent_for_s: float) -> None:
    """Nobody follows."""


def test_every_launch_is_metered(subject: Subject) -> None:
    meter = WatchedMeter()
    twice = replace(subject, settings=subject.settings.model_copy(update={"launches": 2}))
    report = measure(twice, meter, quiet).report
    assert meter.calls == [*["look", "begin", "end", "collect"] * 2, "close", "summarize"]
    assert report.energy is not None
    assert report.latency_ms is not None
    assert report.energy.detail == {"n": report.latency_ms.n, "n_launches": 2}
    assert report.environment is not None
    assert report.environment.settings["seconds_used"] == 0.1


@pytest.mark.parametrize("of_sensor", ["measured", "replayed", "simulated"])
def test_a_run_is_what_its_power_sensor_is(subject: Subject, of_sensor: str) -> None:
    report = measure(subject, WatchedMeter(sensor={"provenance": of_sensor}), quiet).report
    assert report.provenance is Provenance(of_sensor)


@pytest.mark.parametrize("reason", [Reason.SAMPLER_STARVED, Reason.OVERHEAD_HIGH])
def test_a_run_that_its_metering_disturbed_is_suspect(subject: Subject, reason: Reason) -> None:
    report = measure(subject, WatchedMeter(detail={"reasons": [reason.value]}), quiet).report
    assert report.verdict.status is not VerdictStatus.VALID
    assert reason in report.verdict.reasons
