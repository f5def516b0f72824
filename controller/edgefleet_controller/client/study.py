"""A study that was submitted: wait for it, read its trials, its front and what it recommends."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgefleet_controller.client.errors import JsonObject, StudyDidNotComplete
from edgefleet_controller.client.waiting import TERMINAL_JOB_STATES

if TYPE_CHECKING:
    from edgefleet_controller.client.client import Client


class Study:
    """A study of a controller as it was last seen; ``refresh`` and ``wait`` look again."""

    def __init__(self, client: "Client", document: JsonObject) -> None:
        self._client = client
        self.document = document

    def __repr__(self) -> str:
        return f"Study({self.id!r}, {self.name!r}, {self.state!r})"

    @property
    def id(self) -> str:  # the name that the API gives it
        """Identifier, stu_..."""
        return str(self.document["id"])

    @property
    def name(self) -> str:
        """Name."""
        return str(self.document["name"])

    @property
    def state(self) -> str:
        """queued, running, waiting, checking, cancelling, cancelled, completed or failed."""
        return str(self.document["state"])

    @property
    def is_ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in TERMINAL_JOB_STATES

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self._client.url}/studies/{self.id}"

    def refresh(self) -> "Study":
        """Look again; returns itself."""
        self.document = self._client.study(self.id)
        return self

    def wait(
        self,
        *,
        progress: bool = False,
        timeout_s: float | None = None,
        on_change: Callable[["Study"], None] | None = None,
    ) -> "Study":
        """Wait until it completed; returns itself.

        ``progress``: print each new message to standard error. Raises StudyDidNotComplete if it failed or was cancelled, whose
        front so far stays; ClientError ``wait_timed_out`` after ``timeout_s``; the study goes on then.
        """
        said = ""

        def take(document: JsonObject) -> None:
            nonlocal said
            self.document = document
            if progress and (line := _line(document)) != said:
                said = line
                sys.stderr.write(line + "\n")
            if on_change is not None:
                on_change(self)

        self._client.wait_for_study(self.id, take, timeout_s=timeout_s)
        if self.state != "completed":
            raise StudyDidNotComplete(self.document)
        return self

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


def _line(document: JsonObject) -> str:
    return f"{document['id']} {document['state']} [{100 * document['progress']:3.0f} %] {document['message']}"
