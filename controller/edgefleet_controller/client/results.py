"""The figures of jobs."""

from collections.abc import Sequence

from edgefleet_controller.client.connection import Connection
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.fronts import Front, front_of
from edgefleet_controller.client.rows import Results


class ResultCalls(Connection):
    """Tables and fronts."""

    def results(self, job_id: str) -> list[JsonObject]:
        """One row for each variant and device, as the API gives it; ``result_table`` has them typed."""
        return list(self._pages("/v1/results", {"job": job_id}))

    def result_table(self, job_id: str) -> Results:
        """The rows of a job, typed, with their exports."""
        return Results(self.results(job_id), partial=self.has_partial_results(job_id))

    def has_partial_results(self, job_id: str) -> bool:
        """Whether the job has not ended, or was stopped before all was measured."""
        return bool(self._read("/v1/results", {"job": job_id, "limit": 1})["partial"])

    def front(
        self,
        job_id: str,
        x: str = "latency_p50_ms",
        y: str = "accuracy",
        *,
        constraints: Sequence[str] = (),
        device: str | None = None,
        provenance: str = "measured",
        confidence: float | None = None,
    ) -> Front:
        """The rows of a job in two figures, of one provenance, and which of them nothing beats.

        ``constraints``: what rows have to keep, such as ``latency_p90_ms<=20`` or ``accuracy>=0.9``; others are left out
        with the reason. ``confidence``, in (0.5, 1): how surely a point must be beaten to leave the front.
        """
        query = {"job": job_id, "x": x, "y": y, "provenance": provenance, "device": device, "confidence": confidence}
        return front_of(self._read("/v1/front", query | {"constraint": list(constraints) or None}))
