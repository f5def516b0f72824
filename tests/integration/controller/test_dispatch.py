"""Leases: who gets which run, for how long, and what happens when an agent goes silent. On both back ends."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from tests.integration.controller.conftest import Fleet, StartFleet

from edgefleet_agent.wire.messages import ClaimRequest
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Run
from edgefleet_controller.jobs.repository import events_after
from edgefleet_controller.runs import service
from edgefleet_controller.runs.desk import Wanted
from edgefleet_controller.runs.leasing import Leased

CLAIM = ClaimRequest(wait_s=0, facts_sha256="f" * 64)


def test_a_queued_run_is_leased_with_its_order(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, artifact = each_fleet.enqueue(job, device)

    order = device.order()

    assert (order["run_id"], order["attempt"], order["lease_s"]) == (run_id, 1, 60)
    assert order["artifact"]["sha256"] == artifact
    assert each_fleet.run(run_id)["state"] == "leased"


def test_enqueueing_twice_queues_once(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    first, _ = each_fleet.enqueue(job, device)
    second, _ = each_fleet.enqueue(job, device)
    assert first == second
    assert len(each_fleet.get("/v1/runs", job=job["id"])["items"]) == 1


def test_an_order_is_not_kept_back_by_the_entry_about_it(start_fleet: StartFleet) -> None:
    fleet = start_fleet(aftermath_s=3600)
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)

    def kinds() -> list[str]:
        with fleet.services.database.reading() as session:
            return [entry.kind for entry in events_after(session, job["id"], 0, 100)]

    device.order()
    assert "run_leased" not in kinds()
    fleet.services.desk.aftermath.write()
    assert "run_leased" in kinds()


def test_an_empty_queue_gives_204(each_fleet: Fleet) -> None:
    assert each_fleet.add_device().claim().status_code == 204


def test_a_device_holds_one_run_at_a_time(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8"))
    each_fleet.enqueue(job, device, variant=0)
    each_fleet.enqueue(job, device, variant=1)
    device.order()
    assert device.claim().status_code == 204


def test_runs_of_other_devices_are_not_leased(each_fleet: Fleet) -> None:
    mine, other, job = each_fleet.add_device("a"), each_fleet.add_device("b"), each_fleet.add_job()
    each_fleet.enqueue(job, other)
    assert mine.claim().status_code == 204


def test_a_held_device_gets_nothing_until_it_is_released(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.enqueue(job, device)
    each_fleet.post(f"/v1/devices/{device.name}/hold")
    assert device.claim().status_code == 204
    each_fleet.post(f"/v1/devices/{device.name}/release")
    assert device.claim().status_code == 200


def test_a_draining_agent_gets_nothing(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.enqueue(job, device)
    assert device.claim(draining=True, wait_s=30).status_code == 204
    assert each_fleet.get(f"/v1/devices/{device.name}")["presence"] == "draining"


def test_a_revoked_device_is_refused_and_its_queued_runs_fail(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    each_fleet.post(f"/v1/devices/{device.name}/revoke")
    assert device.claim().status_code == 401
    assert (each_fleet.run(run_id)["state"], each_fleet.run(run_id)["error"]["code"]) == ("failed", "device_revoked")


def test_a_run_queued_for_a_revoked_device_fails_at_the_next_sweep(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    each_fleet.post(f"/v1/devices/{device.name}/revoke")
    run_id, _ = each_fleet.enqueue(job, device)
    each_fleet.sweeper.end_leases()
    assert each_fleet.run(run_id)["error"]["code"] == "device_revoked"
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["variants"][0]["state"] == "failed"


def test_unknown_facts_are_asked_for(each_fleet: Fleet) -> None:
    device = each_fleet.add_device()
    assert device.claim(facts_sha256="0" * 64).json() == {"order": None, "send_facts": True}


def test_a_heartbeat_extends_the_lease_over_the_silent_window(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    order = device.order()

    assert device.heartbeat(order, silent_for_s=600).json() == {"cancel": False, "lease_s": 630}

    each_fleet.clock.advance(620)
    each_fleet.sweeper.end_leases()
    assert each_fleet.run(run_id)["state"] == "leased"


def test_an_expired_lease_is_queued_again_and_the_old_attempt_is_stale(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    old = device.order()
    each_fleet.clock.advance(61)
    each_fleet.sweeper.end_leases()
    assert each_fleet.run(run_id)["state"] == "queued"

    new = device.order()

    assert (new["run_id"], new["attempt"]) == (run_id, 2)
    stale = device.heartbeat(old)
    assert (stale.status_code, stale.json()["code"], stale.json()["fault"]) == (409, "stale_attempt", "device")
    assert device.heartbeat(new).status_code == 200


def test_a_lease_whose_answer_was_lost_ends_and_is_given_again(each_fleet: Fleet) -> None:
    """kill -9 between the claim's commit and its response: the agent never learns of the lease."""
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    each_fleet.services.desk.lease_all([each_fleet.wanted(device)])  # committed, the answer is dropped
    assert device.claim().status_code == 204
    each_fleet.clock.advance(61)
    again = device.order()
    assert (again["run_id"], again["attempt"]) == (run_id, 2)


def test_a_run_fails_with_a_reason_after_three_lost_leases(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    run_id, _ = each_fleet.enqueue(job, device)
    for attempt in (1, 2, 3):
        assert device.order()["attempt"] == attempt
        each_fleet.clock.advance(61)
        each_fleet.sweeper.end_leases()
    run = each_fleet.run(run_id)
    assert (run["state"], run["error"]["code"]) == ("failed", "lease_expired")
    assert "agent's log" in run["error"]["message"]
    assert device.claim().status_code == 204


def test_cancelling_drops_queued_runs_and_asks_the_agent_to_stop(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8"))
    running, _ = each_fleet.enqueue(job, device, variant=0)
    waiting, _ = each_fleet.enqueue(job, device, variant=1)
    order = device.order()

    assert each_fleet.post(f"/v1/jobs/{job['id']}/cancel")["state"] == "cancelling"

    assert each_fleet.run(waiting)["state"] == "cancelled"
    assert device.heartbeat(order).json()["cancel"] is True
    each_fleet.sweeper.finish_cancels()
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["state"] == "cancelling", "an agent still works on it"
    each_fleet.clock.advance(61)
    each_fleet.sweeper.end_leases()
    assert each_fleet.run(running)["state"] == "cancelled"
    each_fleet.sweeper.finish_cancels()
    ended = each_fleet.get(f"/v1/jobs/{job['id']}")
    assert (ended["state"], {v["state"] for v in ended["variants"]}) == ("cancelled", {"cancelled"})


def test_concurrent_claims_lease_each_run_once(each_fleet: Fleet) -> None:
    """Eight claimers, two for each of four devices, until nothing is left."""
    devices = [each_fleet.add_device(f"d{index}") for index in range(4)]
    job = each_fleet.add_job(("baseline", "int8", "prune50"))
    for device in devices:
        for variant in range(3):
            each_fleet.enqueue(job, device, variant=variant)
    database, desk = each_fleet.services.database, each_fleet.services.desk
    claimed: list[tuple[str, int]] = []
    barrier = threading.Barrier(8)

    def work(wanted: Wanted) -> None:
        barrier.wait()
        for _ in range(6):
            (leased,) = desk.lease_all([wanted])
            if not isinstance(leased, Leased):
                continue
            claimed.append((leased.run_id, leased.attempt))
            with database.writing() as session:
                run = session.get_one(Run, leased.run_id)
                run.state = "completed"

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, each_fleet.wanted(device)) for device in devices for _ in range(2)]:
            future.result()
    with database.writing() as session:
        left = session.scalars(select(Run).where(Run.state == "queued")).all()
    assert len(claimed) == len(set(claimed))
    assert len(claimed) + len(left) == 12
    assert {attempt for _, attempt in claimed} == {1}


def test_two_claims_of_one_device_at_once_lease_one_run(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8"))
    each_fleet.enqueue(job, device, variant=0)
    each_fleet.enqueue(job, device, variant=1)
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(device.claim) for _ in range(4)]]
    assert sorted(answer.status_code for answer in answers) == [200, 204, 204, 204]


def test_a_held_claim_is_woken_by_new_work(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    held = each_fleet.begin_held(lambda: device.claim(wait_s=50))
    run_id, _ = each_fleet.enqueue(job, device)
    assert held.result(timeout=30).json()["order"]["run_id"] == run_id


def test_a_held_claim_learns_of_work_that_another_process_queued(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    held = each_fleet.begin_held(lambda: device.claim(wait_s=50))
    here = each_fleet.services.database
    there = Database(here.engine, here.clock)  # no listener of this process hears of what it commits
    order = {"runtime": "onnxruntime", "artifact_name": "m.onnx", "artifact": {"sha256": "0" * 64, "size_bytes": 1}}
    with there.writing() as session:
        service.enqueue_run(session, job["id"], job["variants"][0]["id"], device.device_id, order)
    each_fleet.sweeper.wake_waiting()
    assert held.result(timeout=30).status_code == 200


def test_a_held_claim_ends_with_the_server(each_fleet: Fleet) -> None:
    device = each_fleet.add_device()
    held = each_fleet.begin_held(lambda: device.claim(wait_s=50))
    each_fleet.services.wakeups.close()
    assert held.result(timeout=30).status_code == 204


def test_an_agent_that_hung_up_while_waiting_gets_no_lease(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job()
    address = urlsplit(each_fleet.url)
    body = CLAIM.model_copy(update={"wait_s": 50.0}).model_dump_json()
    head = f"POST /agent/v1/claim HTTP/1.1\r\nHost: x\r\nAuthorization: {device.headers['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection((address.hostname, address.port))
    each_fleet.begin_held(lambda: connection.sendall((head + body).encode()))
    connection.close()
    assert each_fleet.operator.get("/healthz").status_code == 200, "by now the server has seen the end"

    run_id, _ = each_fleet.enqueue(job, device)

    assert each_fleet.operator.get("/healthz").status_code == 200
    assert each_fleet.run(run_id)["state"] == "queued"


@pytest.mark.parametrize("protocol", [0, -1])
def test_an_old_protocol_gets_426_with_the_minimum(fleet: Fleet, protocol: int) -> None:
    device = fleet.add_device()
    answer = fleet.anonymous.post("/agent/v1/claim", json={"protocol": protocol}, headers=device.headers)
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")
    assert answer.json()["minimum_protocol"] == 1
