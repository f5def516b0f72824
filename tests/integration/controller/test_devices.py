"""Registering, enrolling, holding and revoking devices."""

from sqlalchemy import select
from tests.integration.controller.conftest import Fleet, device_facts

from edgefleet_controller.db.tables import Device, JoinToken


def enrol(fleet: Fleet, token: str, **fields: str) -> tuple[int, dict[str, str]]:
    answer = fleet.anonymous.post("/agent/v1/enrol", json={"join_token": token, "facts": device_facts(), **fields})
    return answer.status_code, answer.json()


def test_a_registered_device_is_shown_with_a_one_time_token(each_fleet: Fleet) -> None:
    created = each_fleet.post("/v1/devices", {"name": "pi", "board": "raspberry-pi-4", "labels": {"room": "lab"}})
    assert created["join_token"].startswith("ejt_")
    shown = each_fleet.get("/v1/devices/pi")
    assert (shown["state"], shown["presence"], shown["labels"]) == ("registered", "never", {"room": "lab"})
    assert "join_token" not in shown


def test_tokens_are_stored_as_hashes_only(each_fleet: Fleet) -> None:
    created = each_fleet.post("/v1/devices", {"name": "pi", "board": "raspberry-pi-4"})
    _, answer = enrol(each_fleet, created["join_token"])
    with each_fleet.services.database.reading() as session:
        token = session.scalars(select(JoinToken)).one()
        device = session.scalars(select(Device)).one()
    assert len(token.token_sha256) == 64
    assert created["join_token"] not in str(vars(token))
    assert answer["credential"].startswith("edt_")
    assert answer["credential"] not in str(vars(device))


def test_a_join_token_works_once(each_fleet: Fleet) -> None:
    token = each_fleet.post("/v1/devices", {"name": "pi", "board": "raspberry-pi-4"})["join_token"]
    assert enrol(each_fleet, token)[0] == 200
    status, problem = enrol(each_fleet, token)
    assert (status, problem["code"]) == (401, "join_token_refused")


def test_a_join_token_expires(each_fleet: Fleet) -> None:
    token = each_fleet.post("/v1/devices", {"name": "pi", "board": "raspberry-pi-4"})["join_token"]
    each_fleet.clock.advance(3601)
    assert enrol(each_fleet, token)[0] == 401


def test_enrolling_again_ends_the_old_credential(each_fleet: Fleet) -> None:
    device = each_fleet.add_device()
    token = each_fleet.post("/v1/join-tokens", {"device": device.name})["join_token"]
    _, answer = enrol(each_fleet, token)
    assert answer["device_id"] == device.device_id
    assert device.claim().status_code == 401


def test_a_free_token_lets_a_device_name_itself(each_fleet: Fleet) -> None:
    token = each_fleet.post("/v1/join-tokens", {})["join_token"]
    status, answer = enrol(each_fleet, token, name="self-named")
    assert (status, answer["name"]) == (200, "self-named")
    assert each_fleet.get("/v1/devices/self-named")["state"] == "active"


def test_a_free_token_is_not_used_up_by_a_name_that_is_taken(each_fleet: Fleet) -> None:
    each_fleet.add_device("taken")
    token = each_fleet.post("/v1/join-tokens", {})["join_token"]
    status, problem = enrol(each_fleet, token, name="taken")
    assert (status, problem["code"]) == (409, "name_taken")
    assert enrol(each_fleet, token, name="free")[0] == 200


def test_a_hostile_name_is_refused(fleet: Fleet) -> None:
    token = fleet.post("/v1/join-tokens", {})["join_token"]
    status, problem = enrol(fleet, token, name="<script>alert(1)</script>")
    assert (status, problem["code"]) == (422, "invalid_request")


def test_a_name_is_unique(each_fleet: Fleet) -> None:
    each_fleet.add_device("one")
    answer = each_fleet.operator.post("/v1/devices", json={"name": "one", "board": "linux-host"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_a_change_meant_for_another_version_is_refused(fleet: Fleet) -> None:
    fleet.add_device("pi")
    etag = fleet.operator.get("/v1/devices/pi").headers["ETag"]
    held = fleet.operator.post("/v1/devices/pi/hold", headers={"If-Match": etag})
    assert (held.status_code, held.json()["state"]) == (200, "held")
    assert held.headers["ETag"] != etag
    late = fleet.operator.post("/v1/devices/pi/release", headers={"If-Match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "version_mismatch")
    assert fleet.operator.post("/v1/devices/pi/release", headers={"If-Match": "*"}).status_code == 200


def test_a_revoked_device_stays_revoked(fleet: Fleet) -> None:
    fleet.add_device("pi")
    fleet.post("/v1/devices/pi/revoke")
    answer = fleet.operator.post("/v1/devices/pi/release")
    assert (answer.status_code, answer.json()["code"]) == (409, "state_forbids")
    assert fleet.operator.post("/v1/join-tokens", json={"device": "pi"}).status_code == 409


def test_a_silent_device_goes_offline_and_its_last_sign_of_life_is_stored(each_fleet: Fleet) -> None:
    each_fleet.add_device("pi")
    assert each_fleet.get("/v1/devices/pi")["online"] is True
    each_fleet.sweeper.flush_presence()
    each_fleet.clock.advance(91)
    shown = each_fleet.get("/v1/devices/pi")
    assert (shown["presence"], shown["online"], shown["last_seen_at"]) == ("offline", False, "2026-01-01T00:00:00Z")


def test_the_list_is_paged_newest_first(each_fleet: Fleet) -> None:
    names = [f"d{index}" for index in range(5)]
    for name in names:
        each_fleet.post("/v1/devices", {"name": name, "board": "linux-host"})
    seen, cursor = [], None
    while True:
        page = each_fleet.get("/v1/devices", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [device["name"] for device in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == names
    assert len(each_fleet.get("/v1/devices", limit=100_000)["items"]) == 5, "a limit too large is reduced"


def test_a_cursor_that_no_list_gave_is_refused(fleet: Fleet) -> None:
    answer = fleet.operator.get("/v1/devices", params={"cursor": "\N{SNOWMAN}"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
