"""Which role may use which route. A route that is not in this table is refused for everyone."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a route asks for. Viewer, operator and admin are roles in a project, each holding those before it."""

    PUBLIC = "public"
    DEVICE = "device"
    PERSON = "person"
    """anyone who signed in, whatever the projects; the route shows and changes what is the caller's own"""
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    FLEET_ADMIN = "fleet_admin"
    """the operator token of the first start, and users marked as administrators"""


_PUBLIC = (
    "GET /healthz",
    "GET /readyz",
    "GET /login",
    "POST /login",
    "GET /static/{version}/{name:path}",
    "POST /agent/v1/enrol",
)
_DEVICE = (
    "POST /agent/v1/claim",
    "POST /agent/v1/heartbeat",
    "POST /agent/v1/report",
    "POST /agent/v1/rotate",
    "GET /agent/v1/signing-keys",
    "GET /agent/v1/update",
    "POST /agent/v1/update",
    "GET /agent/v1/blobs/{sha256}",
    "HEAD /agent/v1/blobs/{sha256}",
    "PUT /agent/v1/blobs/{sha256}",
    "PATCH /agent/v1/blobs/{sha256}",
    "GET /agent/v1/blobs/{sha256}/upload",
)
_PERSON = (
    "GET /v1/me",
    "GET /v1/signing-keys",
    "POST /v1/me/password",
    "GET /v1/api-tokens",
    "POST /v1/api-tokens",
    "POST /v1/api-tokens/{token_id}/revoke",
    "GET /v1/projects",
    "GET /",
    "GET /tokens",
    "POST /tokens",
    "POST /tokens/{token_id}/revoke",
    "POST /logout",
)
_VIEWER = (
    "GET /metrics",
    "GET /v1/devices",
    "GET /v1/devices/{device_id}",
    "GET /v1/blobs/{sha256}",
    "HEAD /v1/blobs/{sha256}",
    "GET /v1/models",
    "GET /v1/models/{model_id}",
    "GET /v1/models/{model_id}/analysis",
    "GET /v1/analyses/{analysis_id}",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "GET /v1/workers",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/runs",
    "GET /v1/runs/{run_id}",
    "GET /v1/results",
    "GET /v1/front",
    "GET /v1/regressions",
    "GET /v1/regressions/{regression_id}",
    "GET /v1/regression-events",
    "GET /v1/comparisons",
    "GET /v1/comparisons/{comparison_id}",
    "GET /v1/studies",
    "GET /v1/studies/{study_id}",
    "GET /v1/studies/{study_id}/trials",
    "GET /v1/studies/{study_id}/report",
    "GET /v1/studies/{study_id}/events",
    "GET /v1/artifacts/{sha256}",
    "GET /v1/artifacts/{sha256}/manifest",
    "HEAD /v1/artifacts/{sha256}",
    "GET /fleet",
    "GET /fleet/live",
    "GET /devices/{device_id}",
    "GET /jobs",
    "GET /jobs/{job_id}",
    "GET /models/{model_id}",
    "GET /runs/{run_id}",
    "GET /runs/{run_id}/bundle.zip",
    "GET /results",
    "GET /results/compare",
    "GET /comparisons",
    "GET /comparisons/{comparison_id}",
    "GET /front",
    "GET /front/points.json",
    "GET /models",
    "GET /studies",
    "GET /studies/{study_id}",
    "GET /studies/{study_id}/live",
    "GET /studies/{study_id}/charts/{chart}",
    "GET /jobs/{job_id}/live",
    "GET /jobs/{job_id}/front",
    "GET /jobs/{job_id}/curves/{group}",
)
_OPERATOR = (
    "POST /v1/devices",
    "POST /v1/devices/{device_id}/accept",
    "PATCH /v1/devices/{device_id}",
    "POST /v1/devices/{device_id}/hold",
    "POST /v1/devices/{device_id}/drain",
    "POST /v1/devices/{device_id}/release",
    "POST /v1/devices/{device_id}/revoke",
    "POST /v1/join-tokens",
    "PUT /v1/blobs/{sha256}",
    "PATCH /v1/blobs/{sha256}",
    "GET /v1/blobs/{sha256}/upload",
    "POST /v1/models",
    "POST /v1/models/{model_id}/analysis",
    "POST /v1/analyses/{analysis_id}/cancel",
    "POST /v1/jobs",
    "POST /v1/jobs/{job_id}/cancel",
    "POST /v1/jobs/{job_id}/remeasure",
    "POST /v1/imports",
    "POST /v1/regressions/{regression_id}/acknowledge",
    "POST /v1/comparisons",
    "POST /v1/comparisons/{comparison_id}/cancel",
    "POST /v1/studies",
    "POST /v1/studies/{study_id}/cancel",
    "POST /fleet",
    "POST /devices/{device_id}/{action}",
    "POST /jobs/{job_id}/cancel",
    "POST /studies/{study_id}/cancel",
    "POST /jobs/{job_id}/remeasure",
    "GET /jobs/new",
    "POST /jobs/new",
    "POST /jobs/new/preview",
    "GET /jobs/new/recipe-schema",
    "POST /comparisons/{comparison_id}/cancel",
    "POST /models/{model_id}/analysis",
)
_ADMIN = (
    "GET /v1/webhooks",
    "POST /v1/webhooks",
    "DELETE /v1/webhooks/{webhook_id}",
    "GET /v1/webhooks/{webhook_id}/deliveries",
    "GET /v1/projects/{project_id}/members",
    "PUT /v1/projects/{project_id}/members/{user_id}",
    "DELETE /v1/projects/{project_id}/members/{user_id}",
)
_FLEET_ADMIN = (
    "GET /v1/users",
    "POST /v1/users",
    "POST /v1/users/{user_id}/disable",
    "POST /v1/users/{user_id}/enable",
    "POST /v1/users/{user_id}/password",
    "POST /v1/projects",
    "PATCH /v1/projects/{project_id}",
    "POST /v1/signing-keys/rotate",
    "POST /v1/agent-releases",
    "POST /v1/rollouts",
    "GET /v1/rollouts",
    "GET /v1/rollouts/{rollout_id}",
    "POST /v1/rollouts/{rollout_id}/cancel",
    "GET /v1/audit",
    "GET /v1/audit/check",
    "GET /audit",
    "POST /audit/check",
    "GET /users",
    "POST /users",
    "POST /users/{user_id}/{action}",
    "POST /projects",
    "POST /projects/{project_id}/members",
)

ACCESS: Mapping[str, Role] = MappingProxyType(
    {
        **dict.fromkeys(_PUBLIC, Role.PUBLIC),
        **dict.fromkeys(_DEVICE, Role.DEVICE),
        **dict.fromkeys(_PERSON, Role.PERSON),
        **dict.fromkeys(_VIEWER, Role.VIEWER),
        **dict.fromkeys(_OPERATOR, Role.OPERATOR),
        **dict.fromkeys(_ADMIN, Role.ADMIN),
        **dict.fromkeys(_FLEET_ADMIN, Role.FLEET_ADMIN),
    }
)


def required_role(method: str, path: str) -> Role | None:
    """What a route asks for; None if nobody may use it because it was not listed."""
    return ACCESS.get(f"{method} {path}")
