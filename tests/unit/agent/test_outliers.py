"""Outliers are counted by what happened in their segment."""

import numpy as np
import pytest

from edgefleet_agent.measure.outliers import attribute_outliers, merge_causes

N_SEGMENTS, PER_SEGMENT = 4, 25
SLOW = 60
"""Index of the one slow inference: in the third of four segments."""


def latencies() -> "np.ndarray":
    values = np.array([1_000_000 + 1000 * (i % 5) for i in range(N_SEGMENTS * PER_SEGMENT)], dtype=np.int64)
    values[SLOW] = 5_000_000
    return values


def segments(**columns: "list[int]") -> "np.ndarray":
    quiet = {"major_faults": [0] * 5, "involuntary": [0] * 5, "cpu": [1] * 5, "khz": [1_500_000] * 5, **columns}
    n_done = [PER_SEGMENT * i for i in range(N_SEGMENTS + 1)]
    return np.array([n_done, n_done, quiet["major_faults"], quiet["involuntary"], quiet["cpu"], quiet["khz"]])


@pytest.mark.parametrize(
    ("columns", "cause"),
    [
        ({}, "unexplained"),
        ({"major_faults": [0, 0, 0, 1, 0]}, "major_fault"),
        ({"involuntary": [0, 0, 0, 3, 0]}, "involuntary_switch"),
        ({"cpu": [1, 1, 1, 0, 0]}, "migration"),
        ({"khz": [1_500_000, 1_500_000, 1_500_000, 1_000_000, 1_500_000]}, "throttle"),
    ],
)
def test_outlier_has_the_cause_seen_in_its_segment(columns: "dict[str, list[int]]", cause: str) -> None:
    assert attribute_outliers(latencies(), segments(**columns)).outliers == {cause: 1}


def test_cause_of_another_segment_explains_nothing() -> None:
    causes = attribute_outliers(latencies(), segments(major_faults=[0, 7, 0, 0, 0]))
    assert causes.outliers == {"unexplained": 1}
    assert causes.segment_share["major_fault"] == 0.25


def test_outlier_may_have_two_causes() -> None:
    causes = attribute_outliers(latencies(), segments(major_faults=[0, 0, 0, 1, 0], cpu=[1, 1, 1, 0, 0]))
    assert causes.outliers == {"major_fault": 1, "migration": 1}


def test_samples_removed_as_warm_up_shift_the_segments() -> None:
    shifted = attribute_outliers(latencies()[30:], segments(major_faults=[0, 0, 0, 1, 0]), n_removed=30)
    assert shifted.outliers == {"major_fault": 1}


def test_unreadable_core_and_frequency_accuse_nobody() -> None:
    assert attribute_outliers(latencies(), segments(cpu=[-1] * 5, khz=[-1] * 5)).outliers == {"unexplained": 1}


def test_series_without_samples_has_no_outliers() -> None:
    assert attribute_outliers(np.array([], dtype=np.int64), segments()).outliers == {}


def test_launches_are_added() -> None:
    one = attribute_outliers(latencies(), segments(cpu=[1, 1, 1, 0, 0]))
    assert merge_causes([one, one]).outliers == {"migration": 2}
