"""A job that was submitted: wait for it, read its results, measure again."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgefleet_controller.client.errors import JobDidNotComplete, JsonObject
from edgefleet_controller.client.fronts import Front
from edgefleet_controller.client.rows import Results
from edgefleet_controller.client.waiting import TERMINAL_JOB_STATES

if TYPE_CHECKING:
    from edgefleet_controller.client.client import Client


class Job:
    """A job of a controller as it was last seen; ``refresh`` and ``wait`` look again."""

    def __init__(self, client: "Client", document: JsonObject) -> None:
        self._client = client
        self.document = document

    def __repr__(self) -> str:
        return f"Job({self.id!r}, {self.name!r}, {self.state!r})"

    @property
    def id(self) -> str:  # the name that the API gives it
        """Identifier, job_..."""
        return str(self.document["id"])

    @property
    def name(self) -> str:
        """Name."""
        return str(self.document["name"])

    @property
    def state(self) -> str:
        """waiting, queued, running, cancelling, cancelled, completed or failed."""
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
        return f"{self._client.url}/jobs/{self.id}"

    def refresh(self) -> "Job":
        """Look again; returns itself."""
        self.document = self._client.job(self.id)
        return self

    def wait(
        self,
        *,
        progress: bool = False,
        timeout_s: float | None = None,
        on_change: Callable[["Job"], None] | None = None,
    ) -> "Job":
        """Wait until it completed; returns itself.

        ``progress``: print each new message to standard error. Raises JobDidNotComplete if it failed or was cancelled,
        ClientError ``wait_timed_out`` after ``timeout_s``; the job goes on then.
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

        self._client.wait_for_job(self.id, take, timeout_s=timeout_s)
        if self.state != "completed":
            raise JobDidNotComplete(self.document)
        return self

    def results(self) -> Results:
        """Its rows so far; ``partial`` says whether there will be more."""
        return self._client.result_table(self.id)

    def front(
        self,
        x: str = "latency_p50_ms",
        y: str = "accuracy",
        *,
        constraints: Sequence[str] = (),
        device: str | None = None,
        provenance: str = "measured",
        confidence: float | None = None,
    ) -> Front:
        """Its rows in two figures, and which of them nothing beats; see ``Client.front``."""
        return self._client.front(
            self.id, x, y, constraints=constraints, device=device, provenance=provenance, confidence=confidence
        )

    def events(self) -> list[JsonObject]:
        """What happened in it so far, oldest first."""
        return list(self._client.job_events(self.id))

    def cancel(self) -> "Job":
        """Stop it; what was measured stays. Returns itself."""
        self.document = self._client.cancel_job(self.id)
        return self

    def remeasure(self, **changes: Any) -> "Job":
        """A new job that measures its artifacts again; changes as in ``Client.remeasure_job``."""
        return Job(self._client, self._client.remeasure_job(self.id, **changes))


def _line(document: JsonObject) -> str:
    return f"{document['id']} {document['state']} [{100 * document['progress']:3.0f} %] {document['message']}"
