"""Holds, drains, quarantine, windows, cool-down: when a board is given no run, and when it is again."""

import pytest
from tests.integration.controller.conftest import Device, Fleet, make_report

JsonObject = dict[str, object]


def queue_one(fleet: Fleet) -> Device:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    return device


def test_a_hold_says_who_why_and_until_when_and_ends_by_itself(each_fleet: Fleet) -> None:
    device = queue_one(each_fleet)
    held = each_fleet.post(f"/v1/devices/{device.name}/hold", {"reason": "new fan", "for_s": 600})
    assert (held["state"], held["held_reason"], held["held_until"]) == ("held", "new fan", "2026-01-01T00:10:00Z")
    assert held["held_by"]
    assert device.claim().status_code == 204
    each_fleet.clock.advance(601)
    each_fleet.sweeper.end_holds()
    shown = each_fleet.get(f"/v1/devices/{device.name}")
    assert (shown["state"], shown["held_reason"], shown["held_until"]) == ("active", None, None)
    assert device.claim().status_code == 200


def test_a_hold_cannot_end_in_the_past(fleet: Fleet) -> None:
    device = fleet.add_device()
    answer = fleet.operator.post(f"/v1/devices/{device.name}/hold", json={"until": "2020-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_draining_board_finishes_its_run_and_takes_no_more(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8"))
    each_fleet.enqueue(job, device, variant=0)
    each_fleet.enqueue(job, device, variant=1)
    order = device.order()
    assert each_fleet.post(f"/v1/devices/{device.name}/drain")["state"] == "draining"
    assert device.heartbeat(order).status_code == 200
    assert device.report(order, failed(order, "wrong_output")).status_code == 200
    assert device.claim().status_code == 204


def test_a_board_gets_no_run_in_its_window(each_fleet: Fleet) -> None:
    device = queue_one(each_fleet)  # the clock stands at 2026-01-01 00:00, a Thursday
    window = {"kind": "weekly", "days": ["thu"], "at": "00:00", "duration_s": 3600, "reason": "backup"}
    patched = each_fleet.operator.patch(f"/v1/devices/{device.name}", json={"windows": [window]})
    assert patched.json()["windows"] == [window]
    assert device.claim().status_code == 204
    each_fleet.clock.advance(3600)
    assert device.claim().status_code == 200


def test_a_board_rests_between_runs(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8"))
    each_fleet.enqueue(job, device, variant=0)
    each_fleet.enqueue(job, device, variant=1)
    assert each_fleet.operator.patch(f"/v1/devices/{device.name}", json={"cool_down_s": 30}).status_code == 200
    order = device.order()
    device.report(order, failed(order, "wrong_output"))
    assert device.claim().status_code == 204
    each_fleet.clock.advance(31)
    assert device.claim().status_code == 200


def test_a_board_that_keeps_failing_is_quarantined_until_a_person_releases_it(each_fleet: Fleet) -> None:
    device, job = each_fleet.add_device(), each_fleet.add_job(("baseline", "int8", "prune50", "int8-dynamic"))
    for variant in range(4):
        each_fleet.enqueue(job, device, variant=variant)
    for _ in range(3):
        order = device.order()
        assert device.report(order, failed(order, "runner_hung")).status_code == 200
    shown = each_fleet.get(f"/v1/devices/{device.name}")
    assert (shown["state"], shown["held_by"]) == ("quarantined", "controller")
    assert "3 runs in a row failed" in shown["held_reason"]
    assert [one["code"] for one in shown["failures"]] == ["runner_hung"] * 3
    assert device.claim().status_code == 204
    assert each_fleet.post(f"/v1/devices/{device.name}/release")["failures"] == []
    assert device.claim().status_code == 200


def test_failures_of_the_file_do_not_count_against_the_board(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job(("baseline", "int8", "prune50", "int8-dynamic"))
    for variant in range(4):
        fleet.enqueue(job, device, variant=variant)
    for _ in range(3):
        order = device.order()
        device.report(order, failed(order, "wrong_output"))
    assert fleet.get(f"/v1/devices/{device.name}")["state"] == "active"


def test_one_file_that_hangs_everywhere_is_not_the_boards_fault(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job(("baseline", "int8", "prune50"))
    for variant in range(3):
        fleet.enqueue(job, device, variant=variant, content=b"the same file")
    for _ in range(3):
        order = device.order()
        device.report(order, failed(order, "runner_hung"))
    assert fleet.get(f"/v1/devices/{device.name}")["state"] == "active"


def test_labels_are_set_and_removed(fleet: Fleet) -> None:
    device = fleet.add_device()
    fleet.operator.patch(f"/v1/devices/{device.name}", json={"labels": {"rack": "a", "room": "lab"}})
    answer = fleet.operator.patch(f"/v1/devices/{device.name}", json={"labels": {"room": None}})
    assert answer.json()["labels"] == {"rack": "a"}


@pytest.mark.parametrize("at", ["24:00", "7:00", "noon"])
def test_a_window_at_no_time_of_the_day_is_refused(fleet: Fleet, at: str) -> None:
    device = fleet.add_device()
    body = {"windows": [{"kind": "weekly", "at": at, "duration_s": 60}]}
    assert fleet.operator.patch(f"/v1/devices/{device.name}", json=body).status_code == 422


def failed(order: JsonObject, code: str) -> JsonObject:
    artifact = order["artifact"]
    assert isinstance(artifact, dict)
    changes = dict.fromkeys(("latency_ms", "energy", "accuracy", "memory"))
    error = {"code": code, "message": "it went wrong"}
    return make_report(artifact["sha256"], **changes, samples={}, error=error, verdict={"status": "invalid"})
