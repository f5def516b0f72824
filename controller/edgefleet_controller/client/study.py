"""A study that was submitted: wait for it, read its trials, its front and what it recommends."""

from collections.abc import Callable

from edgefleet_controller.client.errors import JsonObject, StudyDidNotComplete
from edgefleet_controller.client.followed import Followed


class Study(Followed):
    """A study of a controller as it was last seen; ``refresh`` and ``wait`` look again.

    Its state is queued, running, waiting, checking, cancelling, cancelled, completed or failed.
    """

    path = "studies"
    did_not_complete = StudyDidNotComplete

    def _look(self) -> JsonObject:
        return self._client.study(self.id)

    def _follow(self, take: Callable[[JsonObject], None], timeout_s: float | None) -> None:
        self._client.wait_for_study(self.id, take, timeout_s=timeout_s)

    def trials(self) -> list[JsonObject]:
        """Its trials so far."""
        return self._client.trials(self.id)

    def report(self) -> JsonObject:
        """What it found so far."""
        return self._client.study_report(self.id)

    def front(self, board: str | None = None) -> list[JsonObject]:
        """The trials that nothing beats on this kind of board, or on the first one, with their values."""
        return list(self._board(board).get("front", ()))

    def recommended(self, board: str | None = None) -> JsonObject | None:
        """What to ship on this kind of board, or on the first one: recipe, target, artifact; None where nothing can be."""
        found: JsonObject = self._board(board).get("recommended") or {}
        return found if found.get("trial") is not None else None

    def cancel(self) -> "Study":
        """End it; what was measured stays. Returns itself."""
        self.document = self._client.cancel_study(self.id)
        return self

    def _board(self, board: str | None) -> JsonObject:
        boards: list[JsonObject] = self.report()["boards"]
        chosen = [one for one in boards if (one["board"] == board if board else one["left_out"] is None)]
        if not chosen:
            raise KeyError(f"the study knows no board {board!r}; it has {', '.join(one['board'] for one in boards)}")
        return chosen[0]
