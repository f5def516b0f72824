"""Studies: search for recipes under constraints on the fleet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edgefleet_controller.client.connection import ATTEMPTS, Connection
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.waiting import WAIT_S, wait_until_ended


class StudyCalls(Connection):
    """Studies as the API's documents; ``Client.search`` gives a ``Study``."""

    def submit_study(
        self,
        model: str,
        *,
        targets: Sequence[str] = ("onnxruntime",),
        devices: Sequence[str] | None = None,
        objectives: Sequence[str | Mapping[str, Any]] | None = None,
        constraints: Sequence[str | Mapping[str, Any]] = (),
        n_trials: int = 30,
        **options: Any,
    ) -> JsonObject:
        """Ask for a search on each kind of board among the devices. ClientError with the reason where it is impossible.

        ``constraints``: such as ``latency_p90_ms<=20``. ``options``: goals, space, techniques, max_epochs, reuse, batch, order,
        sampler, seed, ladder, settings, quick_seconds, finalists, rounds, match, name, priority, compute and deadline, as in
        ``POST /v1/studies``.
        """
        body: JsonObject = {"model": model, "targets": list(targets), "constraints": list(constraints)}
        body |= {"n_trials": n_trials}
        body |= {"devices": list(devices)} if devices is not None else {}
        body |= {"objectives": list(objectives)} if objectives is not None else {}
        body |= {name: value for name, value in options.items() if value is not None}
        return self._create_once("/v1/studies", body)

    def studies(self) -> list[JsonObject]:
        """All studies, newest first."""
        return list(self._pages("/v1/studies"))

    def study(self, study_id: str, *, wait_s: float = 0.0, since: int | None = None) -> JsonObject:
        """The study; with ``wait_s`` the answer comes when its version passes ``since`` or the time is over."""
        return self._read(f"/v1/studies/{study_id}", {"wait": wait_s or None, "since": since}, timeout=wait_s + 30)

    def trials(self, study_id: str) -> list[JsonObject]:
        """Its trials in their order, each with what was measured, or why it failed."""
        return list(self._numbered(f"/v1/studies/{study_id}/trials", -1))

    def study_report(self, study_id: str) -> JsonObject:
        """What it found on each kind of board: front, recommendation, deployment check; ``partial`` until it completed."""
        return self._read(f"/v1/studies/{study_id}/report")

    def study_events(self, study_id: str) -> Iterator[JsonObject]:
        """What happened in the study so far, oldest first."""
        yield from self._numbered(f"/v1/studies/{study_id}/events", 0)

    def cancel_study(self, study_id: str) -> JsonObject:
        """End the study; what it has measured, and the front of it, stays."""
        return self._send("POST", f"/v1/studies/{study_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_study(
        self, study_id: str, on_change: Callable[[JsonObject], None] | None = None, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Follow the study until it ended; ``on_change`` is called with every version of it."""

        def ask(before: JsonObject | None) -> JsonObject:
            return (
                self.study(study_id) if before is None else self.study(study_id, wait_s=WAIT_S, since=before["version"])
            )

        return wait_until_ended(ask, f"study {study_id}", on_change=on_change, timeout_s=timeout_s)

    def _numbered(self, path: str, after: int) -> Iterator[JsonObject]:
        while True:
            page = self._read(path, {"after": after})
            yield from page["items"]
            if page["next_after"] is None:
                return
            after = page["next_after"]
