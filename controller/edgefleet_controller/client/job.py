"""A job that was submitted: wait for it, read its results, measure again."""

from collections.abc import Callable, Sequence
from typing import Any

from edgefleet_controller.client.errors import JobDidNotComplete, JsonObject
from edgefleet_controller.client.followed import Followed
from edgefleet_controller.client.fronts import Front
from edgefleet_controller.client.rows import Results


class Job(Followed):
    """A job of a controller as it was last seen; ``refresh`` and ``wait`` look again.

    Its state is waiting, queued, running, cancelling, cancelled, completed or failed.
    """

    path = "jobs"
    did_not_complete = JobDidNotComplete

    def _look(self) -> JsonObject:
        return self._client.job(self.id)

    def _follow(self, take: Callable[[JsonObject], None], timeout_s: float | None) -> None:
        self._client.wait_for_job(self.id, take, timeout_s=timeout_s)

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
