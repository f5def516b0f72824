"""Jobs: submit, follow, cancel, measure again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edgefleet_controller.client.connection import ATTEMPTS, Connection
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.waiting import WAIT_S, wait_until_ended


class JobCalls(Connection):
    """Jobs as the API's documents; ``Client.submit`` gives a ``Job``."""

    def submit_job(
        self,
        model: str,
        *,
        recipes: Sequence[str | Mapping[str, Any]],
        targets: Sequence[str] = ("onnxruntime",),
        devices: Sequence[str] | None = None,
        settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        name: str | None = None,
        seed: int | None = None,
        metric: str = "top1",
        no_cache: bool = False,
        **rules: Any,
    ) -> JsonObject:
        """Ask for every recipe x target x device; several settings multiply the runs once more. Raises ClientError with the reason where that is impossible.

        ``rules``: priority, compute, match, any_of, after, deadline, max_failures and max_failure_share, as in
        ``POST /v1/jobs``.
        """
        body: JsonObject = {
            "model": model,
            "recipes": list(recipes),
            "targets": list(targets),
            "seed": seed,
            "metric": metric,
            "no_cache": no_cache,
        }
        body |= {"devices": list(devices)} if devices is not None else {}
        if isinstance(settings, Mapping):
            body["settings"] = dict(settings)
        elif settings:
            body["settings"] = [dict(one) for one in settings]
        body |= {"name": name} if name else {}
        body |= {rule: value for rule, value in rules.items() if value is not None}
        return self._create_once("/v1/jobs", body)

    def remeasure_job(self, job_id: str, **changes: Any) -> JsonObject:
        """Measure the job's artifacts again, in a new job that compresses nothing.

        ``changes``: name, variants, devices, settings, priority, deadline, max_failures and max_failure_share; what is left
        out is as it was.
        """
        body = {name: value for name, value in changes.items() if value is not None}
        return self._create_once(f"/v1/jobs/{job_id}/remeasure", body)

    def jobs(self) -> list[JsonObject]:
        """All jobs, without their variants, newest first."""
        return list(self._pages("/v1/jobs"))

    def job(self, job_id: str, *, wait_s: float = 0.0, since: int | None = None) -> JsonObject:
        """The job; with ``wait_s`` the answer comes when its version passes ``since`` or the time is over."""
        return self._read(f"/v1/jobs/{job_id}", {"wait": wait_s or None, "since": since}, timeout=wait_s + 30)

    def job_events(self, job_id: str) -> Iterator[JsonObject]:
        """What happened in the job so far, oldest first."""
        after = 0
        while True:
            page = self._read(f"/v1/jobs/{job_id}/events", {"after": after})
            yield from page["items"]
            if page["next_after"] is None:
                return
            after = page["next_after"]

    def cancel_job(self, job_id: str) -> JsonObject:
        """Stop the job; running steps are ended, finished results stay."""
        return self._send("POST", f"/v1/jobs/{job_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_job(
        self, job_id: str, on_change: Callable[[JsonObject], None] | None = None, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Follow the job until it ended; ``on_change`` is called with every version of it."""

        def ask(before: JsonObject | None) -> JsonObject:
            return self.job(job_id) if before is None else self.job(job_id, wait_s=WAIT_S, since=before["version"])

        return wait_until_ended(ask, f"job {job_id}", on_change=on_change, timeout_s=timeout_s)
