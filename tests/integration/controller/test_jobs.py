"""Submitting, following and cancelling jobs; idempotency keys."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.integration.controller.conftest import Fleet, JsonObject

from edgefleet_controller.db.idempotency import begin_once
from edgefleet_controller.db.tables import Job
from edgefleet_controller.jobs import service


def submit(fleet: Fleet, body: JsonObject, key: str | None = None) -> tuple[int, JsonObject]:
    answer = fleet.operator.post("/v1/jobs", json=body, headers={"Idempotency-Key": key} if key else {})
    return answer.status_code, answer.json()


def n_jobs(fleet: Fleet) -> int:
    with fleet.services.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def test_a_job_is_accepted_with_its_variants_and_given_to_the_engine(each_fleet: Fleet) -> None:
    device = each_fleet.add_device()
    model = each_fleet.add_model()
    inline = {"name": "mine", "passes": [{"kind": "quantize"}]}
    answer = each_fleet.operator.post("/v1/jobs", json={"model": model["id"], "recipes": ["baseline", inline]})
    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/jobs/{job['id']}")
    assert [variant["name"] for variant in job["variants"]] == ["baseline", "mine"]
    assert job["request"]["device_ids"] == [device.device_id]
    assert each_fleet.engine.started == [job["id"]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recipes": ["nonsense"]}, "unknown_recipe"),
        ({"recipes": [{"name": "r", "passes": [], "colour": "red"}]}, "recipe_invalid"),
        (
            {"recipes": [{"name": "r", "passes": [{"kind": "quantize"}, {"kind": "structured_prune", "amount": 0.5}]}]},
            "prune_after_quantize",
        ),
        ({"recipes": ["int8", "int8"]}, "duplicate_name"),
        ({"recipes": []}, "invalid_request"),
        ({"model": "nonsense"}, "unknown_model"),
        ({"targets": ["nonsense"]}, "unknown_target"),
        ({"devices": ["nonsense"]}, "unknown_device"),
        ({"settings": {"threads": 0}}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
    ],
)
def test_what_can_never_run_is_refused_with_a_code(fleet: Fleet, change: JsonObject, code: str) -> None:
    fleet.add_device()
    body: JsonObject = {"model": fleet.add_model()["id"], "recipes": ["baseline"]}
    status, problem = submit(fleet, body | change)
    assert (status, problem["code"], problem["fault"]) == (422, code, "client")
    assert n_jobs(fleet) == 0


def test_a_job_without_any_active_device_is_refused(fleet: Fleet) -> None:
    fleet.post("/v1/devices", {"name": "never-enrolled", "board": "linux-host"})
    status, problem = submit(fleet, {"model": fleet.add_model()["id"], "recipes": ["baseline"]})
    assert (status, problem["code"]) == (422, "no_devices")


def test_the_fields_of_a_refused_request_are_listed(fleet: Fleet) -> None:
    _, problem = submit(fleet, {"model": 5, "recipes": ["baseline"]})
    assert [item["field"] for item in problem["errors"]] == ["body.model"]


def test_the_same_key_and_body_is_answered_again_and_done_once(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    body = {"model": each_fleet.add_model()["id"], "recipes": ["baseline"]}
    first, again = submit(each_fleet, body, "key"), submit(each_fleet, body, "key")
    assert first == again
    assert (first[0], n_jobs(each_fleet)) == (202, 1)
    assert len(each_fleet.engine.started) == 1


def test_the_same_key_with_another_body_is_refused(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    body: JsonObject = {"model": each_fleet.add_model()["id"], "recipes": ["baseline"]}
    submit(each_fleet, body, "key")
    status, problem = submit(each_fleet, body | {"seed": 1}, "key")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


def test_the_same_key_several_times_at_once_makes_one_job(each_fleet: Fleet) -> None:
    """Whoever comes second waits for the first; on PostgreSQL it may also be told to come again."""
    each_fleet.add_device()
    body = {"model": each_fleet.add_model()["id"], "recipes": ["baseline"]}
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(submit, each_fleet, body, "key") for _ in range(4)]]
    assert n_jobs(each_fleet) == 1
    assert {status for status, _ in answers} <= {202, 409}
    assert {answer["code"] for status, answer in answers if status == 409} <= {"idempotency_in_progress"}
    assert len({answer["id"] for status, answer in answers if status == 202}) == 1


def test_a_refused_request_does_not_use_up_its_key(each_fleet: Fleet) -> None:
    body = {"model": each_fleet.add_model()["id"], "recipes": ["baseline"]}
    assert submit(each_fleet, body, "key")[0] == 422
    each_fleet.add_device()
    assert submit(each_fleet, body, "key")[0] == 202


def test_a_key_is_free_again_when_its_transaction_is_rolled_back(each_fleet: Fleet) -> None:
    """kill -9 in the middle of the first request: nothing of it stays, the repetition does the work."""

    def die() -> None:
        with each_fleet.services.database.writing() as session:
            begin_once(session, "key", service.SUBMIT, "{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    with each_fleet.services.database.writing() as session:
        assert begin_once(session, "key", service.SUBMIT, "{}") is None


def wait(fleet: Fleet, job: JsonObject, **query: Any) -> JsonObject:
    return fleet.get(f"/v1/jobs/{job['id']}", wait=50, **query)


def test_waiting_ends_with_the_next_version(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    job = each_fleet.add_job()
    now = each_fleet.get(f"/v1/jobs/{job['id']}")["version"]
    held = each_fleet.begin_held(lambda: wait(each_fleet, job, since=now))
    with each_fleet.services.database.writing() as session:
        service.set_progress(session, job["id"], 0.5, "half")
    news = held.result(timeout=30)
    assert (news["progress"], news["message"]) == (0.5, "half")
    assert news["version"] > now


def test_waiting_for_a_version_that_is_past_answers_at_once(fleet: Fleet) -> None:
    fleet.add_device()
    assert wait(fleet, fleet.add_job(), since=0)["version"] > 0


def test_waiting_without_since_ends_with_the_job(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    job = each_fleet.add_job()
    held = each_fleet.begin_held(lambda: wait(each_fleet, job))
    with each_fleet.services.database.writing() as session:
        service.set_job_state(session, job["id"], "running")
        service.set_job_state(session, job["id"], "completed")
    assert held.result(timeout=30)["state"] == "completed"


def test_waiting_learns_of_what_another_process_wrote(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    job = each_fleet.add_job()
    version = each_fleet.get(f"/v1/jobs/{job['id']}")["version"]
    held = each_fleet.begin_held(lambda: wait(each_fleet, job, since=version))
    with each_fleet.services.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE jobs SET version = version + 1 WHERE id = '{job['id']}'")
    each_fleet.sweeper.wake_waiting()
    assert held.result(timeout=30)["version"] == version + 1


def test_a_cancelled_job_stops_the_engine_and_ends(each_fleet: Fleet) -> None:
    each_fleet.add_device()
    job = each_fleet.add_job()
    assert each_fleet.post(f"/v1/jobs/{job['id']}/cancel")["state"] == "cancelling"
    assert each_fleet.engine.cancelled == [job["id"]]
    assert each_fleet.operator.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202, "repeating it changes nothing"
    each_fleet.sweeper.finish_cancels()
    ended = each_fleet.get(f"/v1/jobs/{job['id']}")
    assert (ended["state"], ended["variants"][0]["state"]) == ("cancelled", "cancelled")


def test_a_job_that_ended_by_itself_cannot_be_cancelled(fleet: Fleet) -> None:
    fleet.add_device()
    job = fleet.add_job()
    with fleet.services.database.writing() as session:
        service.set_job_state(session, job["id"], "completed")
    answer = fleet.operator.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "state_forbids")


def test_a_job_that_the_engine_did_not_take_is_handed_over_again(each_fleet: Fleet) -> None:
    """kill -9 between the job's commit and the engine's: the job is there, its workflow is not."""
    each_fleet.add_device()
    job = each_fleet.add_job()
    each_fleet.engine.started.clear()
    each_fleet.sweeper.restart_queued_jobs()
    assert each_fleet.engine.started == [], "it may be on its way still"
    each_fleet.clock.advance(NEVER_S + 1)
    each_fleet.sweeper.restart_queued_jobs()
    assert each_fleet.engine.started == [job["id"]]


NEVER_S = 3600.0


def test_the_log_of_a_job_is_read_in_parts(fleet: Fleet) -> None:
    fleet.add_device()
    job = fleet.add_job()
    with fleet.services.database.writing() as session:
        service.set_job_state(session, job["id"], "running")
    first = fleet.get(f"/v1/jobs/{job['id']}/events", limit=1)
    rest = fleet.get(f"/v1/jobs/{job['id']}/events", after=first["next_after"])
    assert [event["kind"] for event in first["items"] + rest["items"]] == ["submitted", "running"]


def test_a_job_says_which_of_its_devices_take_no_runs_now(fleet: Fleet) -> None:
    fleet.post("/v1/devices", {"name": "boxed", "board": "raspberry-pi-4"})
    held = fleet.add_device("bench")
    fleet.post(f"/v1/devices/{held.name}/hold")
    job = fleet.add_job(devices=["boxed", "bench"])
    events = fleet.get(f"/v1/jobs/{job['id']}/events")["items"]
    assert [event["message"].split(";")[0] for event in events if event["kind"] == "device_not_ready"] == [
        "boxed has not enrolled yet",
        "bench is held",
    ]


def test_an_unknown_job_is_not_found(fleet: Fleet) -> None:
    for path in ("/v1/jobs/x", "/v1/jobs/x?wait=50", "/v1/jobs/x/events", "/v1/results?job=x", "/v1/front?job=x"):
        assert fleet.operator.get(path).status_code == 404


DYNAMIC = {"name": "int8-dynamic", "passes": [{"kind": "quantize", "activations": {"mode": "dynamic"}}]}


def test_a_pair_that_cannot_be_compiled_fails_at_once_and_the_others_go_on(fleet: Fleet) -> None:
    fleet.add_device()
    model = fleet.add_model()

    status, job = submit(
        fleet, {"model": model["id"], "recipes": ["baseline", DYNAMIC], "targets": ["onnxruntime", "tflite-runtime"]}
    )

    assert status == 202
    found = {variant["name"]: (variant["state"], (variant["error"] or {}).get("code")) for variant in job["variants"]}
    assert found["baseline"] == ("queued", None)
    assert found["int8-dynamic@tflite-runtime"] == ("failed", "precision_not_on_target")


def test_a_job_of_which_nothing_can_be_compiled_is_refused_with_every_reason(fleet: Fleet) -> None:
    fleet.add_device()
    model = fleet.add_model()

    status, problem = submit(fleet, {"model": model["id"], "recipes": [DYNAMIC], "targets": ["tflite-runtime"]})

    assert (status, problem["code"]) == (422, "nothing_to_compile")
    assert [refusal["code"] for refusal in problem["refusals"]] == ["precision_not_on_target"]
    assert n_jobs(fleet) == 0
