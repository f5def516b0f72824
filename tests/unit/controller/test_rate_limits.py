"""Token buckets and passwords."""

import pytest

from edgefleet_controller.auth.passwords import hash_password, is_password
from edgefleet_controller.auth.rate_limits import TokenBuckets
from edgefleet_controller.errors import TooManyRequests


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_bucket_gives_its_burst_at_once_and_its_rate_in_the_long_run() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate_per_s=2, burst=3, clock=clock)
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(TooManyRequests) as caught:
        buckets.take("a")
    assert caught.value.headers == {"Retry-After": "1"}
    buckets.take("b")  # each key has its own
    clock.now_s = 1.0
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(TooManyRequests):
        buckets.take("a")


def test_an_idle_bucket_holds_no_more_than_its_burst() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate_per_s=1, burst=2, clock=clock)
    buckets.take("a")
    clock.now_s = 1e6
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(TooManyRequests):
        buckets.take("a")


def test_a_password_is_recognised_by_its_hash_and_each_hash_has_its_salt() -> None:
    stored = hash_password("correct horse")
    assert is_password("correct horse", stored)
    assert not is_password("correct horses", stored)
    assert "correct" not in stored
    assert hash_password("correct horse") != stored
    assert not is_password("anything", None)
