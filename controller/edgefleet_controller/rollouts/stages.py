"""Which boards a rollout begins with, and when it goes on, ends or stops; pure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPEN = ("canary", "rolling")
"""States of a rollout in which boards are offered its release."""

UNFINISHED = ("pending", "offered")
FAILED = ("failed", "rolled_back")


@dataclass(frozen=True)
class Candidate:
    """A board that may be among the first."""

    id: str
    board: str
    is_online: bool


@dataclass(frozen=True)
class Tally:
    """How many boards of one stage are how far."""

    n_unfinished: int = 0
    n_updated: int = 0
    n_failed: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "Tally":
        """From the number of boards by state."""
        return cls(
            n_unfinished=sum(counts.get(state, 0) for state in UNFINISHED),
            n_updated=counts.get("updated", 0),
            n_failed=sum(counts.get(state, 0) for state in FAILED),
        )


def choose_canaries(candidates: Sequence[Candidate], share: float) -> frozenset[str]:
    """That share of the boards, at least one: in turn of each kind of board, those that are online first."""
    n_wanted = max(1, math.ceil(len(candidates) * share)) if candidates else 0
    by_board: dict[str, list[str]] = defaultdict(list)
    for one in sorted(candidates, key=lambda one: (not one.is_online, one.id)):
        by_board[one.board].append(one.id)
    in_turn = sorted((turn, board, found) for board, ids in by_board.items() for turn, found in enumerate(ids))
    return frozenset(found for _, _, found in in_turn[:n_wanted])


def next_state(state: str, canaries: Tally, others: Tally, max_failures: int) -> str:
    """The rollout's state after a look at its boards.

    One canary that fails stops it: the others begin only when all canaries have checked in with the new version.
    """
    if state not in OPEN:
        return state
    if state == "canary":
        if canaries.n_failed:
            return "stopped"
        if canaries.n_unfinished:
            return "canary"
    if canaries.n_failed + others.n_failed >= max_failures:
        return "stopped"
    return "rolling" if canaries.n_unfinished + others.n_unfinished else "completed"
