"""What belongs to another project is not found: every route with an identifier, every list, every name in a body."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from tests.integration.controller.conftest import (
    Fleet,
    device_facts,
    latency_blob,
    make_report,
)
from tests.integration.controller.test_access import ADMIN, OPERATOR, VIEWER, concrete

from edgefleet_controller.db.tables import Analysis, Regression
from edgefleet_controller.studies.advancing import take_turn

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TwoProjects:
    """A project with a device, a model, a finished run and a comparison, and an administrator of another project."""

    fleet: Fleet
    theirs: dict[str, str]
    """what the first project has, by the name of the route's parameter"""
    owner: httpx.Client
    stranger: httpx.Client


@pytest.fixture
def two(fleet: Fleet) -> Iterator[TwoProjects]:
    with two_projects(fleet) as made:
        yield made


NOT_SHOWN = {
    "GET /v1/artifacts/{sha256}/manifest",  # the fixture's artifact has none
    "GET /v1/regression-events",  # a stream, which answers only those who ask for one
    "GET /fleet/live",  # likewise
    "GET /jobs/{job_id}/live",
    "GET /studies/{study_id}/live",
    "GET /results/compare",  # it needs two results
}


@pytest.fixture
def each_two(each_fleet: Fleet) -> Iterator[TwoProjects]:
    """The same on each back end."""
    with two_projects(each_fleet) as made:
        yield made


def analysis_of(model_sha256: str) -> Analysis:
    return Analysis(
        id="ana_theirs",
        key_sha256="a" * 64,
        model_sha256=model_sha256,
        request={},
        state="completed",
        result={},
        created_at=NOW,
        requested_at=NOW,
    )


def regression_of(project_id: str, device_id: str, run_id: str) -> Regression:
    return Regression(
        id="reg_theirs",
        project_id=project_id,
        device_id=device_id,
        artifact_sha256="a" * 64,
        run_id=run_id,
        changed_run_id=run_id,
        figure="latency_p50_ms",
        direction="worse",
        ratio=1.1,
        before=10.0,
        after=11.0,
        n_before=10,
        n_after=3,
        p_value=0.001,
        created_at=NOW,
    )


@contextmanager
def two_projects(fleet: Fleet) -> Iterator[TwoProjects]:
    project = fleet.post("/v1/projects", {"name": "theirs"})
    fleet.post("/v1/projects", {"name": "others"})
    owner, stranger = fleet.client(fleet.add_user("admin", "theirs")), fleet.client(fleet.add_user("admin", "others"))
    with owner, stranger:
        fleet.operator, administrator = owner, fleet.operator
        device = fleet.add_device()
        job = fleet.add_job()
        run_id, artifact = fleet.enqueue(job, device)
        order = device.order()
        blob = latency_blob()
        device.upload(blob)
        assert device.report(order, make_report(artifact, blob)).status_code == 200
        compared = {"kind": "aa", "a": artifact, "devices": [device.name]}
        comparison = owner.post("/v1/comparisons", json=compared)
        assert comparison.status_code == 202, comparison.text
        fleet.operator = administrator
        model = owner.get("/v1/models").json()["items"][0]
        with fleet.services.database.writing() as session:
            session.add(analysis_of(model["blob_sha256"]))
            session.add(regression_of(project["id"], device.device_id, run_id))
        searched = {"model": model["id"], "objectives": ["latency_p50_ms"], "n_trials": 1, "finalists": 0}
        study = owner.post("/v1/studies", json=searched)
        assert study.status_code == 202, study.text
        take_turn(fleet.services.database, study.json()["id"], 1)
        hook = owner.post("/v1/webhooks", json={"url": "https://hook.example/"})
        assert hook.status_code == 201, hook.text
        theirs = {
            "{device_id}": device.device_id,
            "{job_id}": job["id"],
            "{run_id}": run_id,
            "{model_id}": model["id"],
            "{analysis_id}": "ana_theirs",
            "{comparison_id}": comparison.json()["id"],
            "{regression_id}": "reg_theirs",
            "{study_id}": study.json()["id"],
            "{chart}": "volume",
            "{webhook_id}": hook.json()["id"],
            "{sha256}": artifact,
            "{project_id}": project["id"],
            "{user_id}": "admin-theirs",
            "{action}": "hold",
            "{group}": "loss",
        }
        yield TwoProjects(fleet, theirs, owner, stranger)


def test_every_route_with_an_identifier_finds_only_one_s_own(two: TwoProjects) -> None:
    # whoever sends a file has it, and asks how much of it has come from the own project
    uploads = ("PUT /v1/blobs/{sha256}", "PATCH /v1/blobs/{sha256}", "GET /v1/blobs/{sha256}/upload")
    checked = 0
    for route in sorted(VIEWER | OPERATOR | ADMIN):
        method, path = route.split(" ")
        if "{" not in path or route in uploads:
            continue
        body = {"role": "viewer"} if method == "PUT" else {}
        answer = two.stranger.request(method, concrete(path, two.theirs), json=body if method != "GET" else None)
        assert answer.status_code == 404, f"{route}: {answer.status_code} {answer.text}"
        checked += 1
    assert checked > 15


def test_the_owner_finds_all_of_it(each_two: TwoProjects) -> None:
    two = each_two
    for route in sorted(VIEWER - NOT_SHOWN):
        method, path = route.split(" ")
        answer = two.owner.request(method, concrete(path, two.theirs), params={"job": two.theirs["{job_id}"]})
        assert answer.status_code == 200, f"{route}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize(
    "path", ["devices", "models", "jobs", "runs", "comparisons", "studies", "regressions", "webhooks"]
)
def test_lists_hold_one_s_own_only(two: TwoProjects, path: str) -> None:
    assert two.stranger.get(f"/v1/{path}").json()["items"] == []
    assert len(two.owner.get(f"/v1/{path}").json()["items"]) > 0
    assert len(two.fleet.operator.get(f"/v1/{path}").json()["items"]) > 0


@pytest.mark.parametrize("path", ["/v1/results", "/v1/front"])
def test_a_job_named_in_a_query_is_not_found(two: TwoProjects, path: str) -> None:
    assert two.stranger.get(path, params={"job": two.theirs["{job_id}"]}).status_code == 404


def test_runs_of_another_project_s_job_or_device_are_none(two: TwoProjects) -> None:
    for query in ({"job": two.theirs["{job_id}"]}, {"device": two.theirs["{device_id}"]}):
        assert two.stranger.get("/v1/runs", params=query).json()["items"] == []


def test_what_a_body_names_is_unknown(two: TwoProjects) -> None:
    theirs, stranger = two.theirs, two.stranger
    model = stranger.post("/v1/jobs", json={"model": theirs["{model_id}"], "recipes": ["baseline"]})
    assert (model.status_code, model.json()["code"]) == (422, "unknown_model")
    file = stranger.post("/v1/models", json={"name": "stolen", "blob_sha256": theirs["{sha256}"]})
    assert (file.status_code, file.json()["code"]) == (422, "blob_missing")
    artifact = stranger.post("/v1/comparisons", json={"kind": "aa", "a": theirs["{sha256}"]})
    assert (artifact.status_code, artifact.json()["code"]) == (422, "unknown_artifact")
    token = stranger.post("/v1/join-tokens", json={"device": theirs["{device_id}"]})
    assert (token.status_code, token.json()["code"]) == (404, "not_found")


def test_another_project_s_device_cannot_be_used(two: TwoProjects) -> None:
    sha256 = two.fleet.upload(b"model mine")
    assert two.stranger.put(f"/v1/blobs/{sha256}", content=b"model mine").status_code in (200, 201)
    model = two.stranger.post("/v1/models", json={"name": "mine", "blob_sha256": sha256}).json()
    body = {"model": model["id"], "recipes": ["baseline"], "devices": [two.theirs["{device_id}"]]}
    assert two.stranger.post("/v1/jobs", json=body).json()["code"] == "unknown_device"
    del body["devices"]
    assert two.stranger.post("/v1/jobs", json=body).json()["code"] == "no_devices"


def test_an_idempotency_key_of_another_project_answers_nothing_of_it(two: TwoProjects) -> None:
    body = {"model": "net", "recipes": ["baseline"]}
    key = {"Idempotency-Key": "k1"}
    assert two.owner.post("/v1/jobs", json=body, headers=key).status_code == 202
    answer = two.stranger.post("/v1/jobs", json=body, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")


def test_a_name_that_another_project_uses_is_taken(two: TwoProjects) -> None:
    answer = two.stranger.post("/v1/devices", json={"name": "bench-1", "board": "linux-host"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_things_are_made_in_the_project_that_is_named(two: TwoProjects) -> None:
    two.fleet.operator.put("/v1/projects/others/members/admin-theirs", json={"role": "operator"})
    body = {"name": "board-2", "board": "linux-host"}
    unclear = two.owner.post("/v1/devices", json=body)
    assert (unclear.status_code, unclear.json()["code"]) == (422, "project_required")
    made = two.owner.post("/v1/devices", json=body, headers={"X-Edgefleet-Project": "others"})
    assert made.status_code == 201
    assert [item["name"] for item in two.stranger.get("/v1/devices").json()["items"]] == ["board-2"]
    none = two.owner.post("/v1/devices", json=body, headers={"X-Edgefleet-Project": "default"})
    assert (none.status_code, none.json()["code"]) == (404, "not_found")


def test_a_device_s_files_belong_to_its_project(two: TwoProjects) -> None:
    samples = latency_blob()
    sha256 = make_report("0" * 64, samples)["samples"]["latency"]["sha256"]
    assert two.owner.get(f"/v1/blobs/{sha256}").content == samples
    assert two.stranger.get(f"/v1/blobs/{sha256}").status_code == 404


def test_a_device_enrolled_with_a_free_token_is_its_project_s(two: TwoProjects) -> None:
    token = two.owner.post("/v1/join-tokens", json={}).json()["join_token"]
    answer = two.fleet.anonymous.post(
        "/agent/v1/enrol", json={"join_token": token, "name": "free", "facts": device_facts()}
    )
    assert answer.status_code == 200
    assert two.owner.get("/v1/devices/free").status_code == 200
    assert two.stranger.get("/v1/devices/free").status_code == 404


def test_a_job_says_who_submitted_it(two: TwoProjects, fleet: Fleet) -> None:
    with fleet.services.database.reading() as session:
        from edgefleet_controller.db.tables import Job

        job = session.get_one(Job, two.theirs["{job_id}"])
    assert job.created_by is not None
    assert job.created_by.startswith("usr_")
