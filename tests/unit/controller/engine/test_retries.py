"""Retries as values."""

import pytest

from edgefleet_controller.engine.retries import MAX_DELAY_S, TRANSIENT, decide_retry


def test_a_crash_is_tried_once_more() -> None:
    first = decide_retry("step_crashed", 1)
    assert (first.retry, first.delay_s) == (True, 5.0)
    assert "memory" in first.reason
    second = decide_retry("step_crashed", 2)
    assert (second.retry, second.reason) == (False, "step_crashed came 2 times")


@pytest.mark.parametrize("code", ["recipe_invalid", "step_timed_out", "internal_error", "blob_lost"])
def test_what_would_come_again_is_not_tried_again(code: str) -> None:
    assert decide_retry(code, 1).retry is False


@pytest.mark.parametrize("code", sorted(TRANSIENT))
def test_delays_double_and_every_code_gives_up_in_the_end(code: str) -> None:
    decisions = [decide_retry(code, attempt) for attempt in range(1, TRANSIENT[code].max_attempts + 1)]
    assert [decision.retry for decision in decisions] == [True] * (len(decisions) - 1) + [False]
    delays = [decision.delay_s for decision in decisions[:-1]]
    assert delays == [min(delays[0] * 2**n, MAX_DELAY_S) for n in range(len(delays))]


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        decide_retry("step_crashed", 0)
