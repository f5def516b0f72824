"""Users, their passwords, sessions and API tokens."""

import httpx
import pytest
from tests.integration.controller.conftest import Fleet, StartFleet

PASSWORD = "a long enough password"
HTML = {"Accept": "text/html"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sign_in(fleet: Fleet, name: str, password: str) -> httpx.Response:
    return httpx.post(f"{fleet.url}/login", data={"name": name, "password": password}, timeout=60)


def test_a_user_signs_in_with_a_password_until_disabled(fleet: Fleet) -> None:
    fleet.post("/v1/users", {"name": "anna", "password": PASSWORD})
    assert sign_in(fleet, "anna", PASSWORD + "x").status_code == 401
    assert sign_in(fleet, "nobody", PASSWORD).status_code == 401
    session = {"Cookie": f"edgefleet_session={sign_in(fleet, 'anna', PASSWORD).cookies['edgefleet_session']}"}
    assert fleet.anonymous.get("/v1/me", headers=session).json()["name"] == "anna"
    assert fleet.anonymous.get("/v1/devices", headers=session).status_code == 403  # no role in any project
    fleet.post("/v1/users/anna/disable")
    assert fleet.anonymous.get("/v1/me", headers=session).status_code == 401
    assert sign_in(fleet, "anna", PASSWORD).status_code == 401


def test_a_new_password_ends_the_sessions(fleet: Fleet) -> None:
    fleet.post("/v1/users", {"name": "anna", "password": PASSWORD})
    session = {"Cookie": f"edgefleet_session={sign_in(fleet, 'anna', PASSWORD).cookies['edgefleet_session']}"}
    wrong = {"present": "not this one", "password": PASSWORD + "2"}
    headers = session | {"Origin": fleet.url}
    answer = fleet.anonymous.post("/v1/me/password", json=wrong, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "password_refused")
    right = {"present": PASSWORD, "password": PASSWORD + "2"}
    assert fleet.anonymous.post("/v1/me/password", json=right, headers=headers).status_code == 200
    assert fleet.anonymous.get("/v1/me", headers=session).status_code == 401
    assert sign_in(fleet, "anna", PASSWORD + "2").status_code == 303


def test_guessing_a_password_is_slowed_down(start_fleet: StartFleet) -> None:
    fleet = start_fleet(failures_per_min=2)
    answers = [sign_in(fleet, "anna", f"guess number {number}").status_code for number in range(3)]
    assert answers == [401, 401, 429]


def test_a_token_is_shown_once_and_stored_as_a_hash(fleet: Fleet) -> None:
    fleet.post("/v1/users", {"name": "bot"})
    made = fleet.post("/v1/api-tokens", {"name": "ci", "user": "bot"})
    assert made["token"].startswith("eot_")
    listed = fleet.operator.get("/v1/api-tokens").text
    assert made["token"] not in listed
    assert f"eot_...{made['token'][-4:]}" in listed
    assert made["token"].encode() not in (fleet.services.settings.data_dir / "edgefleet.db").read_bytes()


@pytest.mark.parametrize("end", ["revoke", "expire", "disable"])
def test_a_token_ends_at_the_next_request(fleet: Fleet, end: str) -> None:
    fleet.post("/v1/users", {"name": "bot"})
    made = fleet.post("/v1/api-tokens", {"name": "ci", "user": "bot", "ttl_s": 60})
    headers = bearer(made["token"])
    assert fleet.anonymous.get("/v1/me", headers=headers).status_code == 200
    if end == "revoke":
        fleet.post(f"/v1/api-tokens/{made['id']}/revoke")
    elif end == "expire":
        fleet.clock.advance(60)
    else:
        fleet.post("/v1/users/bot/disable")
    assert fleet.anonymous.get("/v1/me", headers=headers).status_code == 401


def test_a_token_may_do_no_more_than_its_role_and_its_user(fleet: Fleet) -> None:
    fleet.post("/v1/users", {"name": "anna"})
    fleet.operator.put("/v1/projects/default/members/anna", json={"role": "operator"})
    body = {"name": "b", "board": "linux-host"}
    for role, status in (("viewer", 403), ("admin", 201)):
        token = fleet.post("/v1/api-tokens", {"name": role, "user": "anna", "role": role})["token"]
        assert fleet.anonymous.post("/v1/devices", json=body, headers=bearer(token)).status_code == status
        assert fleet.anonymous.get("/v1/users", headers=bearer(token)).status_code == 403


def test_a_token_makes_only_lesser_tokens(fleet: Fleet) -> None:
    fleet.post("/v1/users", {"name": "anna"})
    fleet.operator.put("/v1/projects/default/members/anna", json={"role": "admin"})
    own = fleet.post("/v1/api-tokens", {"name": "own", "user": "anna", "role": "operator", "ttl_s": 100})["token"]

    def issue(**fields: object) -> int:
        return fleet.anonymous.post("/v1/api-tokens", json={"name": "x", **fields}, headers=bearer(own)).status_code

    assert issue(role="viewer", ttl_s=50) == 201
    assert issue(role="admin", ttl_s=50) == 403
    assert issue(role="viewer", ttl_s=200) == 403
    assert issue(role="viewer", ttl_s=None) == 403
    fleet.post("/v1/users", {"name": "ben"})
    assert issue(role="viewer", ttl_s=50, user="ben") == 403


def test_leaving_a_project_ends_the_access_to_it(fleet: Fleet) -> None:
    headers = fleet.add_user("operator")
    assert fleet.anonymous.get("/v1/devices", headers=headers).status_code == 200
    assert fleet.operator.delete("/v1/projects/default/members/operator-default").status_code == 204
    assert fleet.anonymous.get("/v1/devices", headers=headers).status_code == 403
    assert fleet.operator.delete("/v1/projects/default/members/operator-default").status_code == 404
