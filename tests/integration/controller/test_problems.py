"""Every error is a problem document, also those that the framework raises."""

import httpx
import pytest
from tests.integration.controller.conftest import Fleet

from edgefleet_controller.errors import ControllerError

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "fault", "retry", "errors"}


def require_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() >= MEMBERS
    assert (problem["status"], problem["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("GET", "/v1/devices/x", 404, "not_found"),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/results", 422, "invalid_request"),
        ("GET", "/v1/devices?limit=0", 422, "invalid_request"),
        ("GET", "/v1/jobs/x?wait=51", 422, "invalid_request"),
        ("GET", "/v1/jobs/x/events?after=99999999999999999999", 422, "invalid_request"),
    ],
)
def test_errors_of_the_operator_s_api(fleet: Fleet, method: str, path: str, status: int, code: str) -> None:
    require_problem(fleet.operator.request(method, path), status, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"name": "\\ud800"}'])
def test_a_body_that_is_no_document_is_refused(fleet: Fleet, body: bytes) -> None:
    answer = fleet.operator.post("/v1/devices", content=body, headers={"Content-Type": "application/json"})
    require_problem(answer, answer.status_code, answer.json()["code"])
    assert answer.status_code in (400, 422)


def test_a_missing_credential_says_how_to_send_one(fleet: Fleet) -> None:
    answer = fleet.anonymous.get("/v1/jobs")
    require_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_413(fleet: Fleet, chunked: bool) -> None:
    body = b'{"name": "' + b"x" * 1_100_000 + b'"}'
    content = iter([body]) if chunked else body
    answer = fleet.operator.post("/v1/devices", content=content, headers={"Content-Type": "application/json"})
    require_problem(answer, 413, "body_too_large")


def test_an_unexpected_error_tells_nothing_of_its_inside(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("edgefleet_controller.jobs.repository.page_of_jobs", fail)
    answer = fleet.operator.get("/v1/jobs")
    require_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_text_that_no_store_holds_is_the_client_s_fault(each_fleet: Fleet) -> None:
    answer = each_fleet.operator.get("/v1/devices/a%00b")
    assert answer.status_code in (404, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_every_error_has_a_code_of_its_own_and_says_what_to_do() -> None:
    def below(kind: type[ControllerError]) -> list[type[ControllerError]]:
        return [kind, *(item for child in kind.__subclasses__() for item in below(child))]

    kinds = below(ControllerError)
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes))
    assert all(kind.__doc__ for kind in kinds)


def test_the_description_is_openapi_3_1_with_problems_and_described_fields(fleet: Fleet) -> None:
    document = fleet.anonymous.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation.get("description") or operation.get("summary"), path
            assert {"4XX", "5XX"} <= set(operation["responses"])
    undescribed = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, content in schema.get("properties", {}).items()
        if "description" not in content and "$ref" not in content and name not in WIRE
    ]
    assert undescribed == []


WIRE = {
    "ClaimRequest",
    "ClaimResponse",
    "EnrolRequest",
    "HeartbeatRequest",
    "ReportRequest",
    "ReportResponse",
    "RunOrder",
}
"""Messages whose identifiers need no words; they belong to the agent's distribution."""
