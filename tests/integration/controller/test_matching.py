"""Runs that name no device: who may take them, and who gets which; agents that come back; several processes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.integration.controller.conftest import Device, Fleet, StartFleet, device_facts, make_report

from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.runs.service import enqueue_open_run

JsonObject = dict[str, Any]
RUNTIME = {"name": "onnxruntime", "version": "1.19.2", "interpreter": "p", "python_version": "3.9"}


def enqueue_open(fleet: Fleet, job: JsonObject, requirement: Requirement, *, variant: int = 0, slot: int = 0) -> str:
    """What the workflow does for a job that names a requirement."""
    artifact = fleet.upload(b"artifact of " + job["variants"][variant]["id"].encode())
    order = {"runtime": "onnxruntime", "artifact_name": "m.onnx", "artifact": fleet.blob_ref(artifact)}
    with fleet.services.database.writing() as session:
        variant_id = job["variants"][variant]["id"]
        return enqueue_open_run(session, job["id"], variant_id, requirement, order, slot=slot).id


def add_board(fleet: Fleet, name: str, **facts: Any) -> Device:
    created = fleet.post("/v1/devices", {"name": name, "board": facts.get("board", "linux-host")})
    found = device_facts() | facts
    body = {"join_token": created["join_token"], "facts": found}
    device = Device(fleet.anonymous, fleet.anonymous.post("/agent/v1/enrol", json=body).json())
    claim = {"wait_s": 0, "facts_sha256": "f" * 64, "facts": found}
    assert fleet.anonymous.post("/agent/v1/claim", json=claim, headers=device.headers).status_code == 204
    return device


@pytest.mark.parametrize(
    ("requirement", "facts"),
    [
        (Requirement(boards=("raspberry-pi-4",)), {"board": "raspberry-pi-4"}),
        (Requirement(labels={"rack": "a"}), {"labels": {"rack": "a"}}),
        (Requirement(min_memory_bytes=2**30), {"memory_bytes": 2**30}),
        (Requirement(needs_sensor=True), {"sensors": [{"chip": "ina226"}]}),
        (
            Requirement(runtime="edgetpu"),
            {"runtimes": [{"name": "edgetpu", "version": "1", "interpreter": "p", "python_version": "3.9"}]},
        ),
    ],
    ids=["board", "label", "memory", "sensor", "runtime"],
)
def test_only_a_board_that_meets_the_requirement_takes_the_run(
    each_fleet: Fleet, requirement: Requirement, facts: JsonObject
) -> None:
    other, fitting, job = each_fleet.add_device("other"), add_board(each_fleet, "fits", **facts), each_fleet.add_job()
    run_id = enqueue_open(each_fleet, job, requirement)
    assert other.claim().status_code == 204
    assert fitting.order()["run_id"] == run_id
    assert each_fleet.run(run_id)["device_id"] == fitting.device_id


def test_a_board_whose_runtime_is_too_old_for_the_file_does_not_take_the_run(each_fleet: Fleet) -> None:
    old, new = (
        add_board(each_fleet, name, runtimes=[{**RUNTIME, "version": version}])
        for name, version in (("old", "1.10.0"), ("new", "1.24.4"))
    )
    needed = Requirement(runtime="onnxruntime", min_runtime_version="1.24")
    run_id = enqueue_open(each_fleet, each_fleet.add_job(), needed)
    assert old.claim().status_code == 204
    assert new.order()["run_id"] == run_id


def test_each_slot_goes_to_another_board(each_fleet: Fleet) -> None:
    boards, job = [each_fleet.add_device(f"b{index}") for index in range(2)], each_fleet.add_job()
    ids = {enqueue_open(each_fleet, job, Requirement(), slot=slot) for slot in range(2)}
    assert enqueue_open(each_fleet, job, Requirement(), slot=1) in ids, "queued twice, it is one run"
    first = boards[0].order()
    boards[0].report(first, failed(first))
    assert boards[0].claim().status_code == 204, "it had its turn"
    assert {first["run_id"], boards[1].order()["run_id"]} == ids


def test_a_scarce_board_does_first_what_only_it_can_do(each_fleet: Fleet) -> None:
    coral = add_board(each_fleet, "coral", board="coral-usb")
    each_fleet.add_device("plain")
    job = each_fleet.add_job(("baseline", "int8"))
    anywhere = enqueue_open(each_fleet, job, Requirement(), variant=0)
    only_coral = enqueue_open(each_fleet, job, Requirement(boards=("coral-usb",)), variant=1)
    order = coral.order()
    assert order["run_id"] == only_coral, "although the other one was queued first"
    coral.report(order, failed(order))
    assert coral.order()["run_id"] == anywhere


def test_a_reserved_board_leaves_to_others_what_others_can_do(each_fleet: Fleet) -> None:
    reserved, job = each_fleet.add_device("reserved"), each_fleet.add_job(("baseline", "int8"))
    plain = each_fleet.add_device("plain")
    each_fleet.operator.patch("/v1/devices/reserved", json={"is_reserved": True})
    run_id = enqueue_open(each_fleet, job, Requirement(), variant=0)
    named, _ = each_fleet.enqueue(job, reserved, variant=1)
    order = reserved.order()
    assert order["run_id"] == named
    reserved.report(order, failed(order))
    assert reserved.claim().status_code == 204
    assert plain.order()["run_id"] == run_id


def test_the_next_run_of_the_same_file_goes_first(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8", "prune50"))
    each_fleet.enqueue(job, device, variant=0, content=b"one file")
    each_fleet.enqueue(job, device, variant=1, content=b"another file")
    same, _ = each_fleet.enqueue(job, device, variant=2, content=b"one file")
    order = device.order()
    device.report(order, failed(order))
    assert device.order()["run_id"] == same


def test_a_lost_run_without_a_device_may_go_to_another_board(each_fleet: Fleet) -> None:
    first, second, job = each_fleet.add_device("a"), each_fleet.add_device("b"), each_fleet.add_job()
    enqueue_open(each_fleet, job, Requirement())
    lost = first.order()
    each_fleet.clock.advance(61)
    each_fleet.sweeper.end_leases()
    again = second.order()
    assert (again["run_id"], again["attempt"]) == (lost["run_id"], 2)
    assert first.heartbeat(lost).status_code == 409
    assert first.report(lost, failed(lost)).json()["code"] == "stale_attempt"


def claim_as(device: Device, boot: str, number: int) -> httpx.Response:
    body = {"protocol": 2, "wait_s": 0, "facts_sha256": "f" * 64, "boot": boot, "claim": number}
    return device.http.post("/agent/v1/claim", json=body, headers=device.headers)


def test_an_agent_that_was_killed_and_came_back_gets_its_run_again_at_once(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.enqueue(job, device)
    old = claim_as(device, "boot-one", 1).json()["order"]
    new = claim_as(device, "boot-two", 1).json()["order"]
    assert (new["run_id"], new["attempt"]) == (old["run_id"], 2)
    assert device.heartbeat(old).status_code == 409


def test_a_claim_whose_answer_was_lost_is_answered_again(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.enqueue(job, device)
    first = claim_as(device, "boot-one", 7).json()["order"]
    assert claim_as(device, "boot-one", 7).json()["order"] == first


def test_a_claim_that_arrives_late_changes_nothing(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.enqueue(job, device)
    claim_as(device, "boot-one", 1)
    order = claim_as(device, "boot-two", 2).json()["order"]
    assert claim_as(device, "boot-two", 1).status_code == 204
    assert claim_as(device, "boot-one", 9).status_code == 204
    assert device.heartbeat(order).status_code == 200


def test_a_heartbeat_is_stored_with_the_next_batch(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    order = device.order()
    each_fleet.clock.advance(15)
    assert device.heartbeat(order, phase="warmup").status_code == 200
    assert each_fleet.run(run_id)["phase"] is None, "a killed controller would lose this, and only this"
    each_fleet.sweeper.flush_heartbeats()
    shown = each_fleet.run(run_id)
    assert (shown["phase"], shown["lease_expires_at"]) == ("warmup", "2026-01-01T00:01:15Z")


def test_a_flush_does_not_bring_an_ended_lease_back(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    order = device.order()
    each_fleet.clock.advance(15)
    device.heartbeat(order)
    with process_beside(each_fleet) as other:
        other.services.desk.book.end(run_id)
        other.clock.advance(100)
        other.sweeper.end_leases()
    assert each_fleet.run(run_id)["state"] == "queued"
    each_fleet.sweeper.flush_heartbeats()
    assert each_fleet.run(run_id)["state"] == "queued"
    assert device.heartbeat(order).status_code == 409


@contextmanager
def process_beside(fleet: Fleet) -> Iterator[Fleet]:
    """Another API process's services on the same store, in this one."""
    from edgefleet_controller.app import create_app
    from edgefleet_controller.clock import FakeClock
    from edgefleet_controller.engine.in_memory import InMemoryEngine

    clock = FakeClock(fleet.clock.now())
    app = create_app(fleet.services.settings, engine=InMemoryEngine(), clock=clock)
    services = app.state.services
    services.desk.load()
    other = Fleet(fleet.url, services, clock)
    try:
        yield other
    finally:
        other.close()
        services.database.dispose()


def test_a_credential_revoked_by_another_process_is_refused_after_the_next_scan(each_fleet: Fleet) -> None:
    from edgefleet_controller.devices import service as devices

    device = each_fleet.add_device()
    with process_beside(each_fleet) as other, other.services.database.writing() as session:
        devices.revoke(session, device.device_id, None)
    each_fleet.sweeper.wake_waiting()  # on PostgreSQL a notification does this at once
    assert device.claim().status_code == 401


def test_work_queued_at_one_process_wakes_an_agent_that_waits_at_another(
    start_fleet: StartFleet, postgres_server: Any
) -> None:
    here = start_fleet(database_url=postgres_server.empty_migrated())
    device, job = here.add_device(), here.add_job()
    heard = threading.Event()
    hear = here.services.desk.hear

    def observed(change: Any) -> None:
        hear(change)
        if change.topic == "device":
            heard.set()

    here.services.desk.hear = observed  # type: ignore[method-assign]
    held = here.begin_held(lambda: device.claim(wait_s=50))
    with process_beside(here) as there:
        run_id, _ = there_enqueue(there, job, device)
    assert heard.wait(30), "no notification"
    assert held.result(timeout=30).json()["order"]["run_id"] == run_id


def there_enqueue(there: Fleet, job: JsonObject, device: Device) -> tuple[str, str]:
    from edgefleet_controller.runs.service import enqueue_run

    order = {"runtime": "onnxruntime", "artifact_name": "m.onnx", "artifact": {"sha256": "0" * 64, "size_bytes": 1}}
    with there.services.database.writing() as session:
        run = enqueue_run(session, job["id"], job["variants"][0]["id"], device.device_id, order)
        return run.id, "0" * 64


def failed(order: JsonObject) -> JsonObject:
    changes = dict.fromkeys(("latency_ms", "energy", "accuracy", "memory"))
    error = {"code": "wrong_output", "message": "it went wrong"}
    return make_report(order["artifact"]["sha256"], **changes, samples={}, error=error, verdict={"status": "invalid"})
