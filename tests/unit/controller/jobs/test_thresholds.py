"""When a sweep is stopped for its failures."""

import pytest

from edgefleet_controller.jobs.thresholds import Failures, exceeded


@pytest.mark.parametrize(
    ("n_failed", "limit", "share", "stops"),
    [
        (3, None, None, False),
        (3, 3, None, False),
        (4, 3, None, True),
        (1, 0, None, True),
        (25, None, 0.25, False),
        (26, None, 0.25, True),
        (1, 5, 0.0, True),
    ],
)
def test_a_job_is_stopped_by_more_failures_than_it_allows(
    n_failed: int, limit: int | None, share: float | None, stops: bool
) -> None:
    reason = exceeded(Failures(n_failed=n_failed, n_planned=100), max_failures=limit, max_failure_share=share)
    assert (reason is not None) == stops
    assert reason is None or f"{n_failed} of 100 runs failed" in reason


def test_counts_that_no_job_has_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        Failures(n_failed=0, n_planned=0)
