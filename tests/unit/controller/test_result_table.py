"""The table that every command prints."""

from typing import Any

import pytest

from edgefleet_controller.cli.result_table import print_results

ROW: dict[str, Any] = {
    "name": "int8",
    "device_name": "bench-1",
    "target": "onnxruntime",
    "size_bytes": 2980,
    "size_ratio": 2.93,
    "accuracy_device": None,
    "retention": None,
    "latency_ms": {"p50": 0.0107, "p90": 0.0179, "p99": None, "n": 1234},
    "speedup_p50": 0.69,
    "peak_memory_bytes": 62_800_000,
    "energy": {"value_mj": None, "reason": "no_sensor"},
    "verdict": {"status": "suspect", "reasons": ["host_busy"]},
    "notes": ["calibration_random"],
    "on_front": False,
}


def test_figures_come_with_their_sample_count_verdict_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([ROW])
    printed = capsys.readouterr().out
    assert "1234" in printed
    assert "int8: suspect because of host_busy" in printed
    assert "int8: note calibration_random" in printed


def test_the_settings_that_a_sweep_varies_stand_with_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    latency = ROW["latency_ms"] | {"throughput_per_s": 1234.5}
    print_results([ROW | {"settings": {"threads": 2, "batch": 8}, "latency_ms": latency}])
    printed = capsys.readouterr().out
    assert "int8 (threads 2, batch 8)" in printed
    assert "1234" in printed


def test_rows_of_another_target_say_what_they_are_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    across = {"reference": "baseline", "reference_target": "onnxruntime", "speedup_p50": 8.1, "size_ratio": 4.0}
    print_results([ROW | {"target": "litert", "reference": "baseline@litert", "across_targets": across}])
    printed = capsys.readouterr().out
    expected = "8.10x faster and 4.00x smaller than baseline (onnxruntime); the table compares it with baseline@litert"
    assert expected in printed


def test_the_jobs_metric_has_two_columns_and_says_why_the_device_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    metric = {"metric": "top5", "metric_device": None, "metric_reason": "scores_not_reported", "metric_host": 0.98765}
    print_results([ROW | metric])
    printed = capsys.readouterr().out
    assert "top5 on host" in printed
    assert "scores_not_reported" in printed
    assert "0.9877" in printed
