"""Boards, their runs, and the workers."""

from collections.abc import Mapping
from typing import Any

from edgefleet_controller.client.connection import Connection
from edgefleet_controller.client.errors import JsonObject


class DeviceCalls(Connection):
    """Boards and what they did."""

    def add_device(
        self, name: str, board: str, labels: Mapping[str, str] | None = None, *, kind: str = "physical"
    ) -> JsonObject:
        """Register a board, or what stands in for one; the answer holds its one-time join token."""
        body = {"name": name, "board": board, "labels": dict(labels or {}), "kind": kind}
        return self._send("POST", "/v1/devices", body)

    def devices(self) -> list[JsonObject]:
        """All devices, newest first."""
        return list(self._pages("/v1/devices"))

    def device(self, reference: str) -> JsonObject:
        """One device by identifier or name."""
        return self._read(f"/v1/devices/{reference}")

    def hold_device(self, reference: str, reason: str | None = None, for_s: float | None = None) -> JsonObject:
        """Keep a device free of new runs, until it is released or for so many seconds."""
        return self._send("POST", f"/v1/devices/{reference}/hold", {"reason": reason, "for_s": for_s})

    def drain_device(self, reference: str, reason: str | None = None) -> JsonObject:
        """Let a device finish its run and take no more."""
        return self._send("POST", f"/v1/devices/{reference}/drain", {"reason": reason})

    def patch_device(self, reference: str, changes: Mapping[str, object]) -> JsonObject:
        """Change labels, cool-down, windows, or whether the device is reserved."""
        return self._send("PATCH", f"/v1/devices/{reference}", dict(changes))

    def release_device(self, reference: str) -> JsonObject:
        """End a hold."""
        return self._send("POST", f"/v1/devices/{reference}/release", {})

    def revoke_device(self, reference: str) -> JsonObject:
        """Refuse the device's credential from now on."""
        return self._send("POST", f"/v1/devices/{reference}/revoke", {})

    def accept_device(self, reference: str) -> JsonObject:
        """Let a board that waits to be accepted have runs."""
        return self._send("POST", f"/v1/devices/{reference}/accept", {})

    def create_join_token(self, device: str | None = None, **bounds: Any) -> JsonObject:
        """A one-time token, bound to a registered device or free; bounds: labels, board, serial, auto_accept, ttl_s."""
        wanted = {"device": device, **bounds}
        return self._send(
            "POST", "/v1/join-tokens", {name: value for name, value in wanted.items() if value is not None}
        )

    def device_runs(self, device_id: str) -> list[JsonObject]:
        """The newest runs of a device."""
        return self.runs(device=device_id)

    def runs(self, *, job: str | None = None, device: str | None = None, limit: int = 50) -> list[JsonObject]:
        """The newest runs, of one job or device if asked for; at most 200."""
        return list(self._read("/v1/runs", {"job": job, "device": device, "limit": limit})["items"])

    def run(self, run_id: str) -> JsonObject:
        """One run with its checks."""
        return self._read(f"/v1/runs/{run_id}")

    def workers(self) -> list[JsonObject]:
        """Worker processes that the controller knows, with their queues and state."""
        return list(self._pages("/v1/workers"))
