"""Launches, loads and the paced modes, through a real runner child."""

import ast
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefleet_agent
from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Bench, Subject, measure_artifact
from edgefleet_agent.measure.profiled import profile_artifact
from edgefleet_agent.runner.caches import cached_share, evict_from_page_cache
from edgefleet_agent.runner.paced import run_open_loop, schedule_arrivals
from edgefleet_agent.runner.timing import Window
from edgefleet_agent.runner.watch import SegmentWatch
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode, Reason
from edgefleet_agent.wire.report import BlobRef
from edgefleet_agent.wire.samples import decode_samples
from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.runs.verification import recompute_latency

MakeSubject = Callable[..., Subject]


def with_settings(subject: Subject, **changes: Any) -> Subject:
    return replace(subject, settings=MeasureSettings(**{**subject.settings.model_dump(), **changes}))


class TestLoads:
    def test_cold_and_warm_load_are_told_apart(self, subject: MakeSubject, bench: Bench, interpreter: str) -> None:
        report = measure_artifact(subject(interpreter=interpreter), bench).report
        assert report.load is not None
        assert report.load.load_ms is not None
        assert report.load.warm_load_ms is not None
        assert report.load.import_ms is not None
        assert set(report.load.caches) == {"artifact_cached_share", "library"}

    def test_written_back_file_can_be_evicted_and_is_seen_to_be(self, tmp_path: Any) -> None:
        path = tmp_path / "artifact"
        path.write_bytes(bytes(64 * 4096))
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        assert cached_share(str(path)) in (None, 1.0)
        evict_from_page_cache(str(path))
        share = cached_share(str(path))
        assert share is None or 0.0 <= share <= 1.0

    def test_missing_and_empty_files_have_no_share(self, tmp_path: Any) -> None:
        (tmp_path / "empty").touch()
        evict_from_page_cache(str(tmp_path / "missing"))
        assert cached_share(str(tmp_path / "missing")) is None
        assert cached_share(str(tmp_path / "empty")) is None


class TestLaunches:
    def test_every_launch_is_a_process_of_its_own(self, subject: MakeSubject, bench: Bench) -> None:
        measurement = measure_artifact(with_settings(subject(), launches=3), bench)
        latency = measurement.report.latency_ms
        assert latency is not None
        assert latency.n_launches == 3
        assert len(latency.launch_p50_ms) == 3
        low, high = latency.launch_intervals["p50"]
        assert low <= sum(latency.launch_p50_ms) / 3 <= high
        _, columns = decode_samples(measurement.blobs["latency"])
        assert sorted(set(columns["launch"])) == [0, 1, 2]
        assert len(columns["latency_ns"]) == latency.n

    def test_one_launch_claims_no_interval_over_launches(self, subject: MakeSubject, bench: Bench) -> None:
        latency = measure_artifact(subject(), bench).report.latency_ms
        assert latency is not None
        assert latency.launch_intervals == {}
        assert latency.throughput_per_s is not None
        assert latency.throughput_per_s > 0

    def test_accuracy_comes_from_the_first_launch(
        self, subject: MakeSubject, bench: Bench, evaluation_file: Any
    ) -> None:
        measured = with_settings(subject(evaluation_path=evaluation_file), launches=2)
        report = measure_artifact(measured, bench).report
        assert report.accuracy is not None
        assert report.accuracy.n_correct == 40


class TestPacedModes:
    def test_duty_cycle_keeps_its_rate(self, subject: MakeSubject, bench: Bench, interpreter: str) -> None:
        measured = with_settings(
            subject(interpreter=interpreter), mode="duty_cycle", rate_per_s=100.0, seconds=0.3, min_samples=20
        )
        measurement = measure_artifact(measured, bench)
        latency = measurement.report.latency_ms
        assert latency is not None
        assert latency.throughput_per_s is not None
        assert latency.throughput_per_s <= 105
        _, columns = decode_samples(measurement.blobs["latency"])
        gaps_ns = np.diff(columns["start_ns"])
        assert np.all(gaps_ns >= np.array(columns["latency_ns"][:-1]))

    def test_open_loop_keeps_intended_starts_and_service_apart(
        self, subject: MakeSubject, bench: Bench, interpreter: str
    ) -> None:
        measured = with_settings(
            subject(interpreter=interpreter),
            mode="open_loop",
            arrivals="fixed",
            rate_per_s=200.0,
            seconds=0.2,
            min_samples=20,
        )
        _, columns = decode_samples(measure_artifact(measured, bench).blobs["latency"])
        assert set(np.diff(columns["start_ns"]).tolist()) == {5_000_000}
        assert all(s <= t for s, t in zip(columns["service_ns"], columns["latency_ns"], strict=True))

    def test_rate_beyond_the_device_is_suspect(self, script: Any) -> None:
        """50 ms an inference at 100 per second: the queue grows, and its waiting counts as latency."""
        measurement = script(
            subject=lambda base: with_settings(
                base, mode="open_loop", rate_per_s=100.0, seconds=0.2, min_samples=20, max_seconds=0.6
            ),
            later="slow",
        )
        report = measurement.report
        assert Reason.RATE_NOT_SUSTAINED in report.verdict.reasons
        assert report.environment.counters["n_unserved"] > 0
        assert report.latency_ms.maximum > 2 * 50

    def test_duty_cycle_beyond_the_device_is_suspect(self, script: Any) -> None:
        measurement = script(
            subject=lambda base: with_settings(
                base, mode="duty_cycle", rate_per_s=100.0, seconds=0.4, min_samples=8, max_seconds=1.0
            ),
            later="slow",
        )
        assert Reason.RATE_NOT_SUSTAINED in measurement.report.verdict.reasons

    def test_paced_mode_without_a_rate_is_refused(self) -> None:
        with pytest.raises(ValueError, match="rate_per_s"):
            MeasureSettings(mode="open_loop")
        with pytest.raises(ValueError, match="rate_per_s"):
            MeasureSettings(rate_per_s=5.0)


class TestOpenLoop:
    def test_one_slow_inference_delays_those_that_arrive_meanwhile(self) -> None:
        """No coordinated omission: a stall of 60 ms at one arrival per 10 ms is seen by six of them, not by one."""
        calls = []

        def invoke(_feed: Any) -> None:
            calls.append(1)
            if len(calls) == 5:
                time.sleep(0.06)

        offsets = np.arange(20) * 10_000_000
        series = run_open_loop(invoke, [None], offsets, limit_s=10.0)
        delayed = sum(latency >= 9_000_000 for latency in series.latency_ns)
        assert delayed >= 5
        assert series.n_unserved == 0
        assert series.service_ns is not None
        assert sum(service >= 9_000_000 for service in series.service_ns) < delayed

    def test_poisson_gaps_are_exponential_and_seeded(self) -> None:
        window = Window(seconds=10.0, min_samples=5000, max_seconds=100.0)
        offsets = schedule_arrivals(window, 500.0, "poisson", seed=3)
        gaps_s = np.diff(offsets) / 1e9
        assert len(offsets) == 5000
        assert gaps_s.mean() == pytest.approx(1 / 500, rel=0.05)
        assert gaps_s.std() == pytest.approx(1 / 500, rel=0.05)
        assert np.array_equal(offsets, schedule_arrivals(window, 500.0, "poisson", seed=3))

    def test_schedule_ends_at_max_seconds(self) -> None:
        window = Window(seconds=1.0, min_samples=1000, max_seconds=2.0)
        assert len(schedule_arrivals(window, 10.0, "fixed", seed=0)) == 20
        assert len(schedule_arrivals(window, 0.001, "fixed", seed=0)) == 1


class TestSegmentWatch:
    def test_rows_start_with_the_state_before_the_first_sample(self) -> None:
        watch = SegmentWatch()
        first = watch.begin(1_000)
        assert first > 1_000
        watch.look(7, first)
        watch.close(9, first + 10)
        columns = watch.columns()
        assert columns[0] == [0, 7, 9]
        assert columns[1] == [1_000, first, first + 10]

    def test_segment_without_samples_is_not_added_at_the_end(self) -> None:
        watch = SegmentWatch()
        watch.begin(0)
        watch.look(3, 10)
        watch.close(3, 20)
        assert watch.columns()[0] == [0, 3]


def test_wall_clock_is_asked_nowhere_in_the_measurement() -> None:
    """A board may believe that it is 1970, and its wall clock may jump."""
    root = Path(edgefleet_agent.__path__[0])
    for folder in ("measure", "runner", "sensors"):
        for source in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Attribute):
                    asked = (getattr(node.value, "id", ""), node.attr)
                    assert asked not in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}, source


def test_one_sample_has_no_percentile_and_no_steady_state(subject: MakeSubject, bench: Bench) -> None:
    settings = {"seconds": 1e-9, "min_samples": 1}
    report = measure_artifact(with_settings(subject(), **settings), bench).report
    assert report.latency_ms is not None
    assert report.latency_ms.n == 1
    assert report.latency_ms.reasons == dict.fromkeys(("p50", "p90", "p99"), Reason.TOO_FEW_SAMPLES)
    assert Reason.NO_STEADY_STATE in report.verdict.reasons


def test_cool_down_that_is_not_reached_is_coded_and_the_run_kept(subject: MakeSubject, bench: Bench) -> None:
    hot = replace(
        bench, read_conditions=lambda: bench.read_conditions().model_copy(update={"temperatures_c": {"cpu": 70.0}})
    )
    report = measure_artifact(with_settings(subject(), cool_down_c=50.0, cool_down_timeout_s=0.0), hot).report
    assert Reason.NOT_COOLED_DOWN in report.verdict.reasons
    assert report.environment is not None
    assert report.environment.cool_down == {
        "target_c": 50.0,
        "reached_c": 70.0,
        "waited_s": pytest.approx(0, abs=1),
        "reached": False,
    }
    assert report.latency_ms is not None


def test_runtime_without_a_profiler_is_not_supported(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text("{}")
    artifact = BlobRef(sha256="0" * 64, size_bytes=2)
    with pytest.raises(MeasurementFailed) as caught:
        profile_artifact(Subject(path=path, artifact=artifact, runtime="scripted"), bench, n_inferences=1)
    assert caught.value.error.code is ErrorCode.NOT_SUPPORTED


def test_controller_computes_the_same_figures_from_several_launches(
    subject: MakeSubject, bench: Bench, tmp_path: Path
) -> None:
    measurement = measure_artifact(with_settings(subject(), launches=2), bench)
    store = LocalBlobStore(tmp_path)
    for blob in measurement.blobs.values():
        store.put_stream([blob])
    figures = recompute_latency(measurement.report, store)
    assert figures is not None
    assert measurement.report.latency_ms is not None
    assert figures.n == measurement.report.latency_ms.n
