"""The audit log: every change by a person has its entry, and an entry that was tampered with shows."""

import pytest
from sqlalchemy import text
from tests.integration.controller.conftest import Fleet


@pytest.fixture
def changed_fleet(each_fleet: Fleet) -> Fleet:
    device = each_fleet.add_device()
    job = each_fleet.add_job()
    each_fleet.post(f"/v1/devices/{device.name}/hold")
    each_fleet.post(f"/v1/jobs/{job['id']}/cancel")
    return each_fleet


def test_every_change_by_a_person_has_an_entry(changed_fleet: Fleet) -> None:
    fleet = changed_fleet
    found = [(entry["action"], entry["object_kind"]) for entry in reversed(fleet.get("/v1/audit")["items"])]
    assert found == [
        ("POST /v1/devices", "devices"),
        ("POST /v1/devices", "join_tokens"),
        ("POST /agent/v1/enrol", "devices"),
        ("POST /v1/models", "models"),
        ("POST /v1/jobs", "jobs"),
        ("POST /v1/devices/{device_id}/hold", "devices"),
        ("POST /v1/jobs/{job_id}/cancel", "jobs"),
    ]
    check = fleet.get("/v1/audit/check")
    assert (check["n_entries"], check["first_broken"]) == (7, None)


def test_an_entry_says_who_where_from_and_what(fleet: Fleet) -> None:
    headers = fleet.add_user("operator")
    answer = fleet.anonymous.post("/v1/devices", json={"name": "b", "board": "linux-host"}, headers=headers)
    entry = fleet.get("/v1/audit", object_id=answer.json()["id"])["items"][0]
    assert (entry["actor_kind"], entry["actor"]) == ("api_token", "operator-default/test")
    assert (entry["address"], entry["detail"], entry["project_id"]) == ("127.0.0.1", {"name": "b"}, "prj_default")
    assert entry["before_sha256"] is None
    fleet.post("/v1/devices/b/revoke")
    changed = fleet.get("/v1/audit", object_id=answer.json()["id"])["items"][0]
    assert (changed["actor"], changed["before_sha256"]) == ("operator-token", entry["after_sha256"])
    assert changed["after_sha256"] != entry["after_sha256"]


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit_log SET actor = 'somebody else' WHERE id = 3",
        "UPDATE audit_log SET after_sha256 = before_sha256 WHERE id = 3",
        "DELETE FROM audit_log WHERE id = 2",
    ],
)
def test_an_entry_that_was_changed_or_removed_shows(changed_fleet: Fleet, tamper: str) -> None:
    with changed_fleet.services.database.engine.begin() as connection:
        connection.execute(text(tamper))
    assert changed_fleet.get("/v1/audit/check")["first_broken"] == 3


def test_a_change_that_failed_leaves_no_entry(fleet: Fleet) -> None:
    fleet.add_device()
    before = fleet.get("/v1/audit/check")["n_entries"]
    assert fleet.operator.post("/v1/devices", json={"name": "bench-1", "board": "b"}).status_code == 409
    assert fleet.get("/v1/audit/check")["n_entries"] == before


def test_reading_leaves_no_entry(fleet: Fleet) -> None:
    fleet.get("/v1/devices")
    assert fleet.get("/v1/audit/check")["n_entries"] == 0


def test_signing_in_is_written_down_also_when_refused(fleet: Fleet) -> None:
    fleet.anonymous.post("/login", data={"token": "eot_wrong"})
    fleet.anonymous.post("/login", data={"token": fleet.services.operator_token})
    entries = fleet.get("/v1/audit")["items"]
    assert [entry["detail"]["event"] for entry in entries] == ["login", "login_refused"]
    assert all("eot_" not in str(entry) for entry in entries)


def test_pages_of_the_log_follow_each_other(changed_fleet: Fleet) -> None:
    first = changed_fleet.get("/v1/audit", limit=4)
    second = changed_fleet.get("/v1/audit", limit=4, cursor=first["next_cursor"])
    assert [entry["id"] for entry in first["items"] + second["items"]] == [7, 6, 5, 4, 3, 2, 1]
    assert second["next_cursor"] is None
