"""A against B in turns on the boards."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_controller.client.connection import ATTEMPTS, Connection
from edgefleet_controller.client.errors import JsonObject
from edgefleet_controller.client.waiting import WAIT_S, wait_until_ended


class ComparisonCalls(Connection):
    """Comparisons of two artifacts, or of one with itself."""

    def submit_comparison(
        self,
        a: str | Mapping[str, str],
        b: str | Mapping[str, str] | None = None,
        *,
        devices: Sequence[str] | None = None,
        n_pairs: int = 400,
        n_comparisons: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> JsonObject:
        """Ask for A against B in turns on each device, or without B for A against itself ``n_comparisons`` times.

        An artifact is its sha256, or ``{"job": ..., "variant": ...}``.
        """
        body: JsonObject = {"kind": "aa" if b is None else "ab", "a": a, "b": b, "n_pairs": n_pairs}
        body |= {"devices": list(devices)} if devices is not None else {}
        body |= {"n_comparisons": n_comparisons} if n_comparisons is not None else {}
        body |= {"settings": dict(settings)} if settings else {}
        return self._create_once("/v1/comparisons", body)

    def comparisons(self) -> list[JsonObject]:
        """All comparisons, newest first, without their conditions."""
        return list(self._pages("/v1/comparisons"))

    def comparison(self, comparison_id: str, *, wait_s: float = 0.0) -> JsonObject:
        """The comparison; with ``wait_s`` the answer comes when it has ended or the time is over."""
        return self._read(f"/v1/comparisons/{comparison_id}", {"wait": wait_s or None}, timeout=wait_s + 30)

    def cancel_comparison(self, comparison_id: str) -> JsonObject:
        """Drop its queued runs and ask the devices that hold others to stop."""
        return self._send("POST", f"/v1/comparisons/{comparison_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_comparison(self, comparison_id: str, *, timeout_s: float | None = None) -> JsonObject:
        """Wait until the comparison has ended on all its devices."""

        def ask(before: JsonObject | None) -> JsonObject:  # noqa: ARG001  # it has no versions to pass on
            return self.comparison(comparison_id, wait_s=WAIT_S)

        return wait_until_ended(ask, f"comparison {comparison_id}", timeout_s=timeout_s)
