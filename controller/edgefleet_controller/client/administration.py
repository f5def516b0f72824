"""Users, projects, API tokens, the audit log, the signing key and updates of agents."""

from typing import Any

from edgefleet_controller.client.connection import Connection
from edgefleet_controller.client.errors import JsonObject


class AdministrationCalls(Connection):
    """Users, projects, tokens, audit, keys and rollouts."""

    def me(self) -> JsonObject:
        """Who the client is, and what it may do where."""
        return self._read("/v1/me")

    def change_password(self, present: str, new: str) -> JsonObject:
        """Change one's own password; all of one's sessions end."""
        return self._send("POST", "/v1/me/password", {"present": present, "password": new})

    def add_user(self, name: str, *, password: str | None = None, is_admin: bool = False) -> JsonObject:
        """Add a user; without a password, one who has API tokens only."""
        return self._send("POST", "/v1/users", {"name": name, "password": password, "is_admin": is_admin})

    def users(self) -> list[JsonObject]:
        """All users, newest first."""
        return list(self._pages("/v1/users"))

    def change_user(self, reference: str, action: str, body: JsonObject | None = None) -> JsonObject:
        """``disable``, ``enable`` or ``password`` (with the new one in ``body``)."""
        return self._send("POST", f"/v1/users/{reference}/{action}", body or {})

    def add_project(self, name: str) -> JsonObject:
        """Add a project."""
        return self._send("POST", "/v1/projects", {"name": name})

    def projects(self) -> list[JsonObject]:
        """Projects that the client has a role in, newest first."""
        return list(self._pages("/v1/projects"))

    def set_project_quota(self, project: str, quota_bytes: int | None) -> JsonObject:
        """Limit what the project's people and boards may have sent; None: by the store's own quota only."""
        return self._send("PATCH", f"/v1/projects/{project}", {"quota_bytes": quota_bytes})

    def members(self, project: str) -> list[JsonObject]:
        """Who may do what in the project."""
        return list(self._read(f"/v1/projects/{project}/members")["items"])

    def set_member(self, project: str, user: str, role: str | None) -> None:
        """Give the user a role in the project; None takes it away."""
        path = f"/v1/projects/{project}/members/{user}"
        if role is None:
            self._request("DELETE", path, attempts=1)
        else:
            self._send("PUT", path, {"role": role})

    def issue_token(self, name: str, **fields: Any) -> JsonObject:
        """An API token; fields: role, project, user, ttl_s. The secret is in ``token``, this once."""
        return self._send("POST", "/v1/api-tokens", {"name": name, **fields})

    def tokens(self) -> list[JsonObject]:
        """API tokens without their secrets, newest first."""
        return list(self._pages("/v1/api-tokens"))

    def revoke_token(self, token_id: str) -> JsonObject:
        """End an API token."""
        return self._send("POST", f"/v1/api-tokens/{token_id}/revoke", {})

    def audit(self, *, limit: int = 50, object_id: str | None = None, actor: str | None = None) -> list[JsonObject]:
        """The newest entries of the audit log."""
        query = {"limit": limit, "object_id": object_id, "actor": actor}
        page = self._read("/v1/audit", {name: value for name, value in query.items() if value is not None})
        return list(page["items"])

    def check_audit(self) -> JsonObject:
        """Whether the chain of the audit log's hashes is whole."""
        return self._read("/v1/audit/check")

    def add_release(self, wheel_sha256: str) -> JsonObject:
        """Register an uploaded wheel of the agent; the same one again changes nothing."""
        return self._send("POST", "/v1/agent-releases", {"wheel_sha256": wheel_sha256})

    def start_rollout(self, release: str, **fields: Any) -> JsonObject:
        """Bring a release to boards; fields: devices, match, canary_share, max_failures."""
        given = {name: value for name, value in fields.items() if value is not None}
        return self._send("POST", "/v1/rollouts", {"release": release, **given})

    def rollouts(self) -> list[JsonObject]:
        """Rollouts of agents, newest first."""
        return list(self._pages("/v1/rollouts"))

    def rollout(self, rollout_id: str) -> JsonObject:
        """One rollout with its boards."""
        return self._read(f"/v1/rollouts/{rollout_id}")

    def cancel_rollout(self, rollout_id: str) -> JsonObject:
        """Offer the release to no further board."""
        return self._send("POST", f"/v1/rollouts/{rollout_id}/cancel", {})

    def signing_keys(self) -> JsonObject:
        """The public key that orders are signed with, and how it was announced."""
        return self._read("/v1/signing-keys")

    def rotate_signing_key(self) -> JsonObject:
        """Sign with a new key from now on."""
        return self._send("POST", "/v1/signing-keys/rotate", {})
