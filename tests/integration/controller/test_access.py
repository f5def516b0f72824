"""Every route x every role. A route that this table does not know fails the test."""

from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from tests.integration.controller.conftest import Fleet

from edgefleet_controller.app import ROUTERS
from edgefleet_controller.auth.access import ACCESS
from edgefleet_controller.web.endpoints import router as pages

PUBLIC = {"GET /healthz", "GET /readyz", "GET /login", "POST /login", "GET /static/style.css", "POST /agent/v1/enrol"}
DEVICE = {
    "POST /agent/v1/claim",
    "POST /agent/v1/heartbeat",
    "POST /agent/v1/report",
    "GET /agent/v1/blobs/{sha256}",
    "HEAD /agent/v1/blobs/{sha256}",
    "PUT /agent/v1/blobs/{sha256}",
}
OPERATOR = {
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
}
FORBIDDEN = (401, 403)


def routes() -> Iterator[str]:
    for router in (*ROUTERS, pages):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield from (f"{method} {route.path}" for method in route.methods or ())


def concrete(path: str) -> str:
    return (
        path.replace("{sha256}", "0" * 64)
        .replace("{device_id}", "x")
        .replace("{job_id}", "x")
        .replace("{run_id}", "x")
        .replace("{model_id}", "x")
        .replace("{comparison_id}", "x")
    )


def test_every_route_is_known_here_and_in_the_access_table() -> None:
    assert set(routes()) == PUBLIC | DEVICE | OPERATOR
    assert set(ACCESS) == set(routes())


def test_nothing_is_served_beside_the_routers(fleet: Fleet) -> None:
    app_paths = {"/docs", "/redoc", "/docs/oauth2-redirect"}
    assert {fleet.operator.get(path).status_code for path in app_paths} == {404}
    assert fleet.anonymous.get("/openapi.json").status_code == 200


@pytest.mark.parametrize("role", ["anonymous", "device", "operator", "wrong", "revoked"])
def test_each_role_reaches_its_own_routes_only(fleet: Fleet, role: str) -> None:
    headers, allowed = {}, PUBLIC
    if role == "device":
        headers, allowed = fleet.add_device().headers, PUBLIC | DEVICE
    elif role == "operator":
        headers = {"Authorization": f"Bearer {fleet.services.operator_token}"}
        allowed = PUBLIC | OPERATOR
    elif role == "wrong":
        headers = {"Authorization": "Bearer eot_wrong"}
    elif role == "revoked":
        device = fleet.add_device()
        fleet.post(f"/v1/devices/{device.name}/revoke")
        headers = device.headers
    reached = set()
    for route in routes():
        method, path = route.split(" ")
        answer = fleet.anonymous.request(method, concrete(path), headers=headers, json={} if method != "GET" else None)
        if answer.status_code not in FORBIDDEN:
            reached.add(route)
    # an empty form does not sign in, which is also a 401
    assert reached | {"POST /login"} == allowed


def test_a_route_missing_from_the_table_is_refused_for_everyone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {route: role for route, role in ACCESS.items() if route != "GET /v1/jobs"}
    monkeypatch.setattr("edgefleet_controller.auth.access.ACCESS", without)
    answer = fleet.operator.get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_the_operator_token_file_is_readable_by_its_owner_only(fleet: Fleet) -> None:
    path = fleet.services.settings.operator_token_file
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("eot_")
