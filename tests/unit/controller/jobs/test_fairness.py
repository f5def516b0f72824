"""Properties of fair queuing, on a queue that serves one unit at a time in the order of the tags."""

import heapq
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefleet_controller.jobs.fairness import (
    FIRST_TAG,
    HEAD_START_UNITS,
    LAST_TAG,
    PRIORITIES,
    Priority,
    advanced,
    assign_tags,
)


class Queue:
    """Serves units by tag, ties by order of submission, as the engine does."""

    def __init__(self) -> None:
        self.virtual_time = 0
        self.waiting: list[tuple[int, int, str, Priority]] = []
        self._ends: dict[tuple[str, Priority], int] = {}
        self._n = 0

    def submit(self, user: str, n_units: int, priority: Priority = "normal") -> None:
        same_or_higher = PRIORITIES[PRIORITIES.index(priority) :]
        ends = [self._ends[user, other] for other in same_or_higher if (user, other) in self._ends]
        tags = assign_tags(
            virtual_time=self.virtual_time, user_end=max(ends, default=None), n_units=n_units, priority=priority
        )
        self._ends[user, priority] = tags.user_end
        for position in range(n_units):
            self._n += 1
            heapq.heappush(self.waiting, (tags.tag_of(position), self._n, user, priority))

    def serve(self) -> str:
        tag, _, user, priority = heapq.heappop(self.waiting)
        self.virtual_time = advanced(self.virtual_time, tag, priority)
        return user


def test_a_single_job_is_served_next_although_a_thousand_units_of_another_user_wait() -> None:
    queue = Queue()
    queue.submit("sweeper", 1000)
    for _ in range(300):
        queue.serve()
    queue.submit("other", 1)
    assert "other" in [queue.serve() for _ in range(2)]


@given(st.integers(1, 400), st.integers(0, 399), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_two_users_of_one_priority_get_turns_one_after_the_other(n_sweep: int, n_served: int, n_units: int) -> None:
    queue = Queue()
    queue.submit("a", n_sweep)
    for _ in range(min(n_served, n_sweep - 1)):
        queue.serve()
    n_left = len(queue.waiting)
    queue.submit("b", n_units)
    order = [queue.serve() for _ in range(len(queue.waiting))]
    both_wait = 2 * min(n_left, n_units)
    for n in range(1, both_wait + 1):
        counts = Counter(order[:n])
        assert abs(counts["a"] - counts["b"]) <= 1


jobs = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.sampled_from(PRIORITIES), st.integers(0, 10)), max_size=30
)


@given(jobs)
@settings(max_examples=50, deadline=None)
def test_whoever_waits_is_passed_by_a_bounded_number_of_units_of_each_other_user(
    script: list[tuple[str, int, Priority, int]],
) -> None:
    """However the others submit, with whatever priority: this is what keeps low priorities from starving."""
    queue = Queue()
    queue.submit("patient", 1, "low")
    passed: Counter[str] = Counter()
    for user, n_units, priority, n_served in script:
        queue.submit(user, n_units, priority)
        for _ in range(min(n_served, len(queue.waiting))):
            served = queue.serve()
            if served == "patient":
                return
            passed[served] += 1
    while (served := queue.serve()) != "patient":
        passed[served] += 1
    # a line for each priority, each with at most its head start and one unit at the same tag
    bound = sum(head_start + 1 for head_start in HEAD_START_UNITS.values())
    assert all(count <= bound for count in passed.values())


@given(jobs)
@settings(max_examples=25, deadline=None)
def test_the_order_depends_on_the_submissions_alone(script: list[tuple[str, int, Priority, int]]) -> None:
    def play() -> list[str]:
        queue = Queue()
        served = []
        for user, n_units, priority, n_served in script:
            queue.submit(user, n_units, priority)
            served += [queue.serve() for _ in range(min(n_served, len(queue.waiting)))]
        return served + [queue.serve() for _ in range(len(queue.waiting))]

    assert play() == play()


def test_a_user_s_urgent_job_does_not_wait_behind_the_same_user_s_sweep() -> None:
    queue = Queue()
    queue.submit("a", 1000)
    queue.submit("a", 1, "high")
    tag, _, _, priority = queue.waiting[0]
    assert priority == "high"
    assert tag < FIRST_TAG


@given(st.integers(0, LAST_TAG), st.integers(0, LAST_TAG), st.integers(1, 1000), st.sampled_from(PRIORITIES))
def test_tags_are_numbers_that_the_engine_takes(time: int, end: int, n_units: int, priority: Priority) -> None:
    tags = assign_tags(virtual_time=time, user_end=end, n_units=n_units, priority=priority)
    assert 1 <= tags.tag_of(0) <= tags.tag_of(n_units - 1) <= LAST_TAG


def test_the_virtual_time_never_goes_back() -> None:
    assert advanced(500, 100, "low") == 500
    assert advanced(500, 500, "high") == 500 + HEAD_START_UNITS["high"]


def test_a_job_without_units_has_no_turn() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assign_tags(virtual_time=0, user_end=None, n_units=0)
