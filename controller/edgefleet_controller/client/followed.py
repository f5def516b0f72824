"""What was submitted and goes on by itself: waited for in the same way whatever it is."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

from edgefleet_controller.client.errors import JobDidNotComplete, JsonObject, StudyDidNotComplete
from edgefleet_controller.client.waiting import TERMINAL_JOB_STATES

if TYPE_CHECKING:
    from edgefleet_controller.client.client import Client


class Followed(ABC):
    """A job or a study of a controller as it was last seen; ``refresh`` and ``wait`` look again."""

    path: ClassVar[str]
    """of its page, beneath the controller's address"""

    did_not_complete: ClassVar[type[JobDidNotComplete] | type[StudyDidNotComplete]]
    """what ``wait`` raises at another end"""

    def __init__(self, client: "Client", document: JsonObject) -> None:
        self._client = client
        self.document = document

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.name!r}, {self.state!r})"

    @property
    def id(self) -> str:  # the name that the API gives it
        """Identifier, such as job_..."""
        return str(self.document["id"])

    @property
    def name(self) -> str:
        """Name."""
        return str(self.document["name"])

    @property
    def state(self) -> str:
        """State, as in the API's answer."""
        return str(self.document["state"])

    @property
    def progress(self) -> float:
        """Share done, 0 to 1."""
        return float(self.document["progress"])

    @property
    def is_ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.state in TERMINAL_JOB_STATES

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self._client.url}/{self.path}/{self.id}"

    def refresh(self) -> Self:
        """Look again; returns itself."""
        self.document = self._look()
        return self

    def wait(
        self,
        *,
        progress: bool = False,
        timeout_s: float | None = None,
        on_change: Callable[[Self], None] | None = None,
    ) -> Self:
        """Wait until it completed; returns itself.

        ``progress``: print each new message to standard error. Raises JobDidNotComplete or StudyDidNotComplete if it failed
        or was cancelled, what it found so far stays; ClientError ``wait_timed_out`` after ``timeout_s``, it goes on then.
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

        self._follow(take, timeout_s)
        if self.state != "completed":
            raise type(self).did_not_complete(self.document)
        return self

    @abstractmethod
    def _look(self) -> JsonObject:
        """Return the document as it is now."""

    @abstractmethod
    def _follow(self, take: Callable[[JsonObject], None], timeout_s: float | None) -> None:
        """Hand in each new document until it has ended."""


def _line(document: JsonObject) -> str:
    return f"{document['id']} {document['state']} [{100 * document['progress']:3.0f} %] {document['message']}"
