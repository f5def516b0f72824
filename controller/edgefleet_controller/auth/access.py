"""Which role may use which route. A route that is not in this table is refused for everyone."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """Who asks."""

    PUBLIC = "public"
    DEVICE = "device"
    OPERATOR = "operator"


_PUBLIC = (
    "GET /healthz",
    "GET /readyz",
    "GET /login",
    "POST /login",
    "GET /static/style.css",
    "POST /agent/v1/enrol",
)
_DEVICE = (
    "POST /agent/v1/claim",
    "POST /agent/v1/heartbeat",
    "POST /agent/v1/report",
    "GET /agent/v1/blobs/{sha256}",
    "HEAD /agent/v1/blobs/{sha256}",
    "PUT /agent/v1/blobs/{sha256}",
)
_OPERATOR = (
    "GET /v1/devices",
    "POST /v1/devices",
    "GET /v1/devices/{device_id}",
    "POST /v1/devices/{device_id}/hold",
    "POST /v1/devices/{device_id}/release",
    "POST /v1/devices/{device_id}/revoke",
    "POST /v1/join-tokens",
    "PUT /v1/blobs/{sha256}",
    "GET /v1/blobs/{sha256}",
    "HEAD /v1/blobs/{sha256}",
    "GET /v1/models",
    "POST /v1/models",
    "GET /v1/models/{model_id}",
    "GET /v1/jobs",
    "POST /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/events",
    "POST /v1/jobs/{job_id}/cancel",
    "GET /v1/runs",
    "GET /v1/runs/{run_id}",
    "GET /v1/results",
    "GET /v1/front",
    "GET /v1/comparisons",
    "POST /v1/comparisons",
    "GET /v1/comparisons/{comparison_id}",
    "POST /v1/comparisons/{comparison_id}/cancel",
    "GET /v1/artifacts/{sha256}",
    "GET /v1/artifacts/{sha256}/manifest",
    "HEAD /v1/artifacts/{sha256}",
    "GET /",
    "GET /jobs/{job_id}",
    "POST /logout",
)

ACCESS: Mapping[str, Role] = MappingProxyType(
    {
        **dict.fromkeys(_PUBLIC, Role.PUBLIC),
        **dict.fromkeys(_DEVICE, Role.DEVICE),
        **dict.fromkeys(_OPERATOR, Role.OPERATOR),
    }
)


def required_role(method: str, path: str) -> Role | None:
    """The role a route asks for; None if nobody may use it because it was not listed."""
    return ACCESS.get(f"{method} {path}")
