"""What a job may ask for beside recipes and devices: turns, dependencies, deadlines, thresholds, another measurement."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from edgefleet_controller.client import Client
from edgefleet_controller.db.tables import Artifact, Job, Run, Variant
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs.closing import close_if_done
from edgefleet_controller.jobs.fairness import FIRST_TAG
from edgefleet_controller.workers.presence import WorkerPresence
from edgefleet_controller.workflows.dispatching import dispatch
from edgefleet_controller.workflows.journal import Journal

JsonObject = dict[str, Any]


def begin(fleet: Any, job: JsonObject) -> None:
    """What the worker's first task does."""
    assert Journal(fleet.services.database).start_job(job["id"]) is not None


def state_of(fleet: Any, job: JsonObject) -> str:
    return str(fleet.get(f"/v1/jobs/{job['id']}")["state"])


def end(fleet: Any, job: JsonObject, state: str) -> None:
    """End all variants and with them the job."""
    begin(fleet, job)
    with fleet.services.database.writing() as session:
        for variant in jobs.variants_of(session, job["id"]):
            variant.state = state
            variant.error = {"code": "x", "message": "x", "detail": {}} if state == "failed" else None
        session.flush()
        close_if_done(session, job["id"])


def submit(fleet: Any, model: JsonObject, **fields: Any) -> JsonObject:
    job: JsonObject = fleet.post("/v1/jobs", {"model": model["id"], "recipes": ["baseline"], **fields})
    return job


def refusal(fleet: Any, path: str, body: JsonObject) -> str:
    answer = fleet.operator.post(path, json=body)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["code"])


@pytest.fixture
def model(fleet: Any) -> JsonObject:
    fleet.add_device()
    found: JsonObject = fleet.add_model()
    return found


class TestTurns:
    def test_a_user_s_jobs_come_one_after_the_other_and_an_urgent_one_before_them(
        self, fleet: Any, model: JsonObject
    ) -> None:
        for fields in ({"recipes": ["baseline", "int8"]}, {}, {"priority": "high"}):
            submit(fleet, model, **fields)
        sweep, second, urgent = (fleet.engine.priorities[job_id] for job_id in fleet.engine.started)
        assert second == sweep + 2
        assert urgent < sweep < FIRST_TAG

    def test_a_cancelled_sweep_does_not_put_its_user_behind(self, fleet: Any, model: JsonObject) -> None:
        first = submit(fleet, model, recipes=["baseline", "int8"])
        fleet.post(f"/v1/jobs/{first['id']}/cancel")
        fleet.sweeper.finish_cancels()
        second = submit(fleet, model)
        assert fleet.engine.priorities[second["id"]] == fleet.engine.priorities[first["id"]]

    def test_runs_wait_for_boards_in_the_order_of_their_turns(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model)
        give_artifact(fleet, job, 0)
        dispatch(fleet.services.database, job["variants"][0]["id"])
        with fleet.services.database.reading() as session:
            assert session.scalars(select(Run.priority)).all() == [fleet.engine.priorities[job["id"]]]


class TestDependencies:
    def test_a_job_begins_when_those_it_waits_for_have_completed(self, fleet: Any, model: JsonObject) -> None:
        first, second = submit(fleet, model), submit(fleet, model)
        third = submit(fleet, model, after=[first["id"], second["id"]])
        assert (third["state"], third["after"]) == ("waiting", sorted([first["id"], second["id"]]))
        end(fleet, first, "completed")
        fleet.sweeper.release_jobs()
        assert state_of(fleet, third) == "waiting"
        end(fleet, second, "completed")
        fleet.sweeper.release_jobs()
        assert state_of(fleet, third) == "queued"
        assert third["id"] in fleet.engine.started

    def test_a_job_fails_with_the_reason_when_one_that_it_waits_for_fails(self, fleet: Any, model: JsonObject) -> None:
        first = submit(fleet, model)
        second = submit(fleet, model, after=[first["id"]])
        third = submit(fleet, model, after=[second["id"]])
        end(fleet, first, "failed")
        fleet.sweeper.release_jobs()
        fleet.sweeper.release_jobs()
        for job, cause in ((second, first), (third, second)):
            error = fleet.get(f"/v1/jobs/{job['id']}")["error"]
            assert (error["code"], error["detail"]) == ("dependency_failed", {"after": [cause["id"]]})

    def test_nothing_waits_for_what_is_not_there_or_never_comes(self, fleet: Any, model: JsonObject) -> None:
        body = {"model": model["id"], "recipes": ["baseline"]}
        assert refusal(fleet, "/v1/jobs", body | {"after": ["job_unknown"]}) == "unknown_job"
        first = submit(fleet, model)
        end(fleet, first, "failed")
        assert refusal(fleet, "/v1/jobs", body | {"after": [first["id"]]}) == "job_never_comes"

    def test_a_waiting_job_can_be_cancelled(self, fleet: Any, model: JsonObject) -> None:
        waits = submit(fleet, model, after=[submit(fleet, model)["id"]])
        fleet.post(f"/v1/jobs/{waits['id']}/cancel")
        fleet.sweeper.finish_cancels()
        assert state_of(fleet, waits) == "cancelled"


class TestDeadlines:
    def test_a_job_ends_at_its_deadline_and_says_that_its_results_are_partial(
        self, fleet: Any, model: JsonObject
    ) -> None:
        deadline = fleet.clock.now() + timedelta(minutes=10)
        job = submit(fleet, model, deadline=deadline.isoformat())
        begin(fleet, job)
        fleet.clock.advance(599)
        fleet.sweeper.end_overdue_jobs()
        assert state_of(fleet, job) == "running"
        assert fleet.get("/v1/results", job=job["id"])["partial"] is True
        fleet.clock.advance(1)
        fleet.sweeper.end_overdue_jobs()
        fleet.sweeper.finish_cancels()
        ended = fleet.get(f"/v1/jobs/{job['id']}")
        assert (ended["state"], ended["error"]["code"]) == ("failed", "deadline_exceeded")
        assert job["id"] in fleet.engine.cancelled
        assert fleet.get("/v1/results", job=job["id"])["partial"] is True

    def test_a_deadline_in_the_past_is_refused(self, fleet: Any, model: JsonObject) -> None:
        body = {"model": model["id"], "recipes": ["baseline"], "deadline": fleet.clock.now().isoformat()}
        assert refusal(fleet, "/v1/jobs", body) == "deadline_passed"

    def test_the_results_of_a_completed_job_are_whole(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model)
        end(fleet, job, "completed")
        assert fleet.get("/v1/results", job=job["id"])["partial"] is False


class TestThresholds:
    def test_a_sweep_stops_when_more_has_failed_than_it_allows(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model, recipes=["baseline", "int8", "int8-dynamic"], max_failures=1)
        begin(fleet, job)
        journal = Journal(fleet.services.database)
        error = {"code": "x", "message": "x", "detail": {}}
        first, second, third = (journal.look_up(variant["id"]) for variant in job["variants"])
        journal.fail_variant(first, "compiling", error)
        assert state_of(fleet, job) == "running"
        journal.fail_variant(second, "compiling", error)
        assert journal.enter(third.variant_id, "compressing") is None
        fleet.sweeper.finish_cancels()
        ended = fleet.get(f"/v1/jobs/{job['id']}")
        assert (ended["state"], ended["error"]["code"]) == ("failed", "too_many_failures")
        assert ended["error"]["detail"] == {"n_failed": 2, "n_planned": 3}
        assert [variant["state"] for variant in ended["variants"]] == ["failed", "failed", "cancelled"]


def give_artifact(fleet: Any, job: JsonObject, ordinal: int) -> None:
    """What compiling the variant leaves."""
    row = Artifact(
        key_sha256="a" * 64,
        key={},
        sha256=fleet.upload(b"artifact"),
        size_bytes=8,
        target="onnxruntime",
        manifest={"file_name": "model.onnx", "size_bytes": 8},
        accuracy_host={},
        created_at=fleet.clock.now(),
    )
    with fleet.services.database.writing() as session:
        session.add(row)
        session.flush()
        jobs.variants_of(session, job["id"])[ordinal].artifact_key = row.key_sha256


class TestRemeasuring:
    def test_artifacts_are_measured_again_in_a_job_of_their_own(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model, recipes=["baseline", "int8"])
        give_artifact(fleet, job, 1)
        again = fleet.post(f"/v1/jobs/{job['id']}/remeasure", {"settings": {"threads": 2}})
        assert again["remeasure_of"] == job["id"]
        assert again["identity_sha256"] == job["identity_sha256"]
        assert [variant["name"] for variant in again["variants"]] == ["int8"]
        assert again["request"]["settings"]["threads"] == 2
        with fleet.services.database.reading() as session:
            copied = session.get_one(Variant, again["variants"][0]["id"])
            assert copied.artifact_key == "a" * 64
        dispatch(fleet.services.database, copied.id)
        assert len(fleet.get("/v1/runs", job=again["id"])["items"]) == 1
        assert fleet.get("/v1/runs", job=job["id"])["items"] == []

    def test_runs_that_any_device_may_take_stay_open_to_any(self, fleet: Any, model: JsonObject) -> None:
        """Nobody named the devices of such a job: the ones that are free measure its artifacts again."""
        match = {"boards": ["linux-host"]}
        job = submit(fleet, model, match=match, any_of=1, settings=[{"threads": 1}, {"threads": 2}])
        give_artifact(fleet, job, 0)
        again = fleet.post(f"/v1/jobs/{job['id']}/remeasure", {})
        assert (again["request"]["any_of"], again["request"]["match"]["boards"]) == (1, ["linux-host"])
        dispatch(fleet.services.database, again["variants"][0]["id"])
        runs = fleet.get("/v1/runs", job=again["id"])["items"]
        assert [(run["device_id"], run["state"]) for run in runs] == [(None, "queued")] * 2
        rows = [fleet.get("/v1/results", job=again["id"], limit=1)]
        rows.append(fleet.get("/v1/results", job=again["id"], limit=1, cursor=rows[0]["next_cursor"]))
        assert {page["items"][0]["run_id"] for page in rows} == {run["id"] for run in runs}
        assert rows[1]["next_cursor"] is None

    def test_a_named_device_takes_the_place_of_any(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model, match={}, any_of=1)
        give_artifact(fleet, job, 0)
        named = fleet.add_device("named")
        again = fleet.post(f"/v1/jobs/{job['id']}/remeasure", {"devices": ["named"]})
        assert again["request"]["device_ids"] == [named.device_id]
        assert (again["request"]["any_of"], again["request"]["match"]) == (None, None)
        dispatch(fleet.services.database, again["variants"][0]["id"])
        assert [run["device_id"] for run in fleet.get("/v1/runs", job=again["id"])["items"]] == [named.device_id]

    def test_too_few_devices_are_said_at_once(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model, match={}, any_of=1)
        give_artifact(fleet, job, 0)
        for device in fleet.get("/v1/devices")["items"]:
            assert fleet.operator.post(f"/v1/devices/{device['id']}/revoke").status_code == 200
        assert refusal(fleet, f"/v1/jobs/{job['id']}/remeasure", {}) == "no_devices"

    def test_a_job_without_artifacts_has_nothing_to_measure(self, fleet: Any, model: JsonObject) -> None:
        job = submit(fleet, model)
        assert refusal(fleet, f"/v1/jobs/{job['id']}/remeasure", {}) == "nothing_to_measure"
        give_artifact(fleet, job, 0)
        body = {"variants": ["int8"]}
        assert refusal(fleet, f"/v1/jobs/{job['id']}/remeasure", body) == "unknown_artifact"


def test_the_client_carries_all_of_it(fleet: Any, model: JsonObject) -> None:
    with Client(fleet.url, fleet.services.operator_token) as client:
        first = client.submit_job(model["id"], recipes=["baseline"], priority="high", max_failures=3)
        assert (first["priority"], first["request"]["max_failures"]) == ("high", 3)
        assert client.has_partial_results(first["id"]) is True
        second = client.submit_job(model["id"], recipes=["baseline"], after=[first["id"]])
        assert second["state"] == "waiting"
        give_artifact(fleet, first, 0)
        assert client.remeasure_job(first["id"], variants=["baseline"])["remeasure_of"] == first["id"]
        assert client.workers() == []
        presence = WorkerPresence(fleet.services.database, "lab-1", ("cpu",), timeout_s=60.0)
        presence.register()
        [worker] = client.workers()
        assert (worker["name"], worker["state"], worker["queues"]) == ("lab-1", "active", ["cpu"])


def test_jobs_that_make_the_same_artifacts_have_the_same_identity(fleet: Any, model: JsonObject) -> None:
    def identity(**fields: Any) -> str:
        return str(submit(fleet, model, **fields)["identity_sha256"])

    assert identity() == identity(priority="low", settings={"threads": 2}, no_cache=True)
    others = [
        identity(),
        identity(seed=7),
        identity(recipes=["int8"]),
        identity(targets=["onnxruntime", "onnxruntime-current"]),
    ]
    assert len(set(others)) == len(others)


def test_a_job_knows_who_waits_at_its_end(fleet: Any, model: JsonObject) -> None:
    """Of two variants that end one after the other, the last closes the job, and a job that was not begun stays."""
    job = submit(fleet, model, recipes=["baseline", "int8"])
    with fleet.services.database.writing() as session:
        for variant in jobs.variants_of(session, job["id"]):
            variant.state = "completed"
        session.flush()
        close_if_done(session, job["id"])
        assert session.get_one(Job, job["id"]).state == "queued"
