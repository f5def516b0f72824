"""Every route x every role. A route that this table does not know fails the test."""

from collections.abc import Iterator, Mapping

import pytest
from fastapi.routing import APIRoute
from tests.integration.controller.conftest import Fleet

from edgefleet_controller.app import ROUTERS
from edgefleet_controller.auth.access import ACCESS
from edgefleet_controller.web.pages import ROUTERS as PAGES

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /login",
    "POST /login",
    "GET /static/{version}/{name:path}",
    "POST /agent/v1/enrol",
}
DEVICE = {
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
}
PERSON = {
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
}
VIEWER = {
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
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/runs",
    "GET /v1/runs/{run_id}",
    "GET /v1/results",
    "GET /v1/workers",
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
}
OPERATOR = {
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
}
ADMIN = {
    "GET /v1/webhooks",
    "POST /v1/webhooks",
    "DELETE /v1/webhooks/{webhook_id}",
    "GET /v1/webhooks/{webhook_id}/deliveries",
    "GET /v1/projects/{project_id}/members",
    "PUT /v1/projects/{project_id}/members/{user_id}",
    "DELETE /v1/projects/{project_id}/members/{user_id}",
}
FLEET_ADMIN = {
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
}
EVERYTHING = PUBLIC | DEVICE | PERSON | VIEWER | OPERATOR | ADMIN | FLEET_ADMIN
ALLOWED = {
    "anonymous": PUBLIC,
    "wrong": PUBLIC,
    "revoked": PUBLIC,
    "device": PUBLIC | DEVICE,
    "nobody": PUBLIC | PERSON,
    "viewer": PUBLIC | PERSON | VIEWER,
    "operator": PUBLIC | PERSON | VIEWER | OPERATOR,
    "admin": PUBLIC | PERSON | VIEWER | OPERATOR | ADMIN,
    "fleet admin": EVERYTHING - DEVICE,
    "operator token": EVERYTHING - DEVICE,
    "disabled": PUBLIC,
}
FORBIDDEN = (401, 403)


def routes() -> Iterator[str]:
    for router in (*ROUTERS, *PAGES):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield from (f"{method} {route.path}" for method in route.methods or ())


PLACEHOLDERS = {
    "{sha256}": "0" * 64,
    **dict.fromkeys(
        ("{device_id}", "{job_id}", "{run_id}", "{model_id}", "{comparison_id}", "{project_id}", "{user_id}"), "x"
    ),
    "{token_id}": "x",
    "{analysis_id}": "x",
    "{rollout_id}": "x",
    "{regression_id}": "x",
    "{webhook_id}": "x",
    "{version}": "x",
    "{name:path}": "x",
    "{action}": "hold",
    "{group}": "loss",
    "{study_id}": "x",
    "{chart}": "front",
}


def concrete(path: str, values: Mapping[str, str] = PLACEHOLDERS) -> str:
    for placeholder, value in values.items():
        path = path.replace(placeholder, value)
    assert "{" not in path, f"{path}: say in PLACEHOLDERS, and in the test of ownership, what this parameter names"
    return path


def test_every_route_is_known_here_and_in_the_access_table() -> None:
    assert set(routes()) == EVERYTHING
    assert set(ACCESS) == set(routes())


def test_nothing_is_served_beside_the_routers(fleet: Fleet) -> None:
    app_paths = {"/docs", "/redoc", "/docs/oauth2-redirect"}
    assert {fleet.operator.get(path).status_code for path in app_paths} == {404}
    assert fleet.anonymous.get("/openapi.json").status_code == 200


def credential(fleet: Fleet, role: str) -> dict[str, str]:
    if role == "anonymous":
        return {}
    if role == "wrong":
        return {"Authorization": "Bearer eot_wrong"}
    if role == "operator token":
        return {"Authorization": f"Bearer {fleet.services.operator_token}"}
    if role in ("device", "revoked"):
        device = fleet.add_device()
        if role == "revoked":
            fleet.post(f"/v1/devices/{device.name}/revoke")
        return device.headers
    return fleet.add_user(role)


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_reaches_its_own_routes_only(fleet: Fleet, role: str) -> None:
    # what a proxy passed on was not made on this host, where /metrics needs no credential
    headers = credential(fleet, role) | {"X-Forwarded-For": "203.0.113.9"}
    reached = set()
    for route in sorted(routes()):
        method, path = route.split(" ")
        answer = fleet.anonymous.request(method, concrete(path), headers=headers, json={} if method != "GET" else None)
        assert answer.status_code < 500, route
        if answer.status_code not in FORBIDDEN:
            reached.add(route)
    # an empty form does not sign in, and only a person who has a password may change it
    assert reached | {"POST /login", "POST /v1/me/password"} == ALLOWED[role] | {"POST /v1/me/password"}


def test_a_route_missing_from_the_table_is_refused_for_everyone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {route: role for route, role in ACCESS.items() if route != "GET /v1/jobs"}
    monkeypatch.setattr("edgefleet_controller.auth.access.ACCESS", without)
    answer = fleet.operator.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_the_operator_token_file_is_readable_by_its_owner_only(fleet: Fleet) -> None:
    path = fleet.services.settings.operator_token_file
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("eot_")
