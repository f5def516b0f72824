"""Which boards a rollout begins with, and when it goes on, ends or stops."""

import pytest

from edgefleet_controller.rollouts.stages import Candidate, Tally, choose_canaries, next_state


def board(name: str, kind: str = "pi", *, is_online: bool = True) -> Candidate:
    return Candidate(name, kind, is_online)


@pytest.mark.parametrize(
    ("n_boards", "share", "n_canaries"), [(0, 0.1, 0), (1, 0.1, 1), (10, 0.1, 1), (11, 0.1, 2), (4, 1.0, 4)]
)
def test_a_share_of_the_boards_begins_and_at_least_one(n_boards: int, share: float, n_canaries: int) -> None:
    assert len(choose_canaries([board(f"b{i}") for i in range(n_boards)], share)) == n_canaries


def test_each_kind_of_board_is_among_the_first_and_those_that_are_online() -> None:
    boards = [board("a1", is_online=False), *(board(f"b{i}") for i in range(8)), board("c1", "coral")]
    assert choose_canaries(boards, 0.2) == {"b0", "c1"}


@pytest.mark.parametrize(
    ("state", "canaries", "others", "max_failures", "expected"),
    [
        ("canary", Tally(n_unfinished=1, n_updated=1), Tally(n_unfinished=8), 1, "canary"),
        ("canary", Tally(n_updated=2), Tally(n_unfinished=8), 1, "rolling"),
        ("canary", Tally(n_updated=2), Tally(), 1, "completed"),
        ("canary", Tally(), Tally(n_updated=3), 1, "completed"),
        ("canary", Tally(n_updated=5, n_failed=1), Tally(n_unfinished=8), 9, "stopped"),
        ("rolling", Tally(n_updated=2), Tally(n_unfinished=8), 1, "rolling"),
        ("rolling", Tally(n_updated=2), Tally(n_unfinished=7, n_failed=1), 2, "rolling"),
        ("rolling", Tally(n_updated=2), Tally(n_unfinished=6, n_failed=2), 2, "stopped"),
        ("rolling", Tally(n_updated=1, n_failed=1), Tally(n_unfinished=8), 1, "stopped"),
        ("rolling", Tally(n_updated=2), Tally(n_updated=7, n_failed=1), 2, "completed"),
        ("stopped", Tally(n_updated=2), Tally(n_updated=8), 1, "stopped"),
        ("cancelled", Tally(n_updated=2), Tally(n_updated=8), 1, "cancelled"),
    ],
)
def test_a_rollout_goes_on_when_its_canaries_are_well_and_stops_when_too_many_fail(
    state: str, canaries: Tally, others: Tally, max_failures: int, expected: str
) -> None:
    assert next_state(state, canaries, others, max_failures) == expected


def test_a_board_that_went_back_counts_as_failed() -> None:
    found = Tally.of({"pending": 1, "offered": 2, "updated": 3, "failed": 4, "rolled_back": 5})
    assert found == Tally(n_unfinished=3, n_updated=3, n_failed=9)
