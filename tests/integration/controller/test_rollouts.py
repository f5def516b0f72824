"""Another version of the agent for many boards: in stages, signed, and stopped when it does them no good."""

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.controller.conftest import Device, Fleet, JsonObject, device_facts
from tests.integration.controller.test_trust import Board

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.errors import UpdateFailed
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.loop.trust import Asked
from edgefleet_agent.loop.updating import Updating
from edgefleet_agent.loop.versions import LAUNCHED, Versions

NONCE = "0" * 32
HEADER = "edgefleet-update"
CLI = """
def main():
    print("edgefleet-agent {version}")
    return {status}
"""


def make_wheel(
    version: str = "9.0", *, name: str = "edgefleet-agent", status: int = 0, stated: str | None = None
) -> bytes:
    """A wheel that answers ``--version`` as the agent does."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("edgefleet_agent/__init__.py", "")
        wheel.writestr("edgefleet_agent/cli/__init__.py", CLI.format(version=version, status=status))
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {stated or version}\n\nText: none\n"
        wheel.writestr(f"edgefleet_agent-{version}.dist-info/METADATA", metadata)
    return file.getvalue()


def add_release(fleet: Fleet, wheel: bytes) -> str:
    return str(fleet.post("/v1/agent-releases", {"wheel_sha256": fleet.upload(wheel)})["version"])


def start(fleet: Fleet, version: str = "9.0", **fields: Any) -> str:
    rollout = fleet.post("/v1/rollouts", {"release": version, **fields})
    fleet.sweeper.move_rollouts()
    return str(rollout["id"])


def look(fleet: Fleet, rollout_id: str) -> tuple[str, dict[str, str]]:
    fleet.sweeper.move_rollouts()
    found = fleet.get(f"/v1/rollouts/{rollout_id}")
    return found["state"], {one["name"]: one["state"] for one in found["devices"]}


def take(device: Device) -> httpx.Response:
    return device.http.get("/agent/v1/update", params={"nonce": NONCE}, headers=device.headers)


def check_in(device: Device, version: str) -> None:
    """The first claim of an agent of that version."""
    facts = device_facts() | {"agent_version": version}
    body = {"wait_s": 0, "facts_sha256": "e" * 64, "facts": facts}
    assert device.http.post("/agent/v1/claim", json=body, headers=device.headers).status_code == 204


def fail(device: Device, rollout_id: str, outcome: str = "failed") -> int:
    body = {"rollout_id": rollout_id, "outcome": outcome, "message": "no room"}
    return device.http.post("/agent/v1/update", json=body, headers=device.headers).status_code


def test_the_others_begin_when_the_canary_has_checked_in(each_fleet: Fleet) -> None:
    fleet = each_fleet
    add_release(fleet, make_wheel())
    boards = [fleet.add_device(f"b{i}") for i in range(3)]
    rollout_id = start(fleet, canary_share=0.1)
    assert [HEADER in board.claim().headers for board in boards] == [True, False, False]
    assert [take(board).status_code for board in boards] == [200, 404, 404]
    assert look(fleet, rollout_id) == ("canary", {"b0": "offered", "b1": "pending", "b2": "pending"})
    check_in(boards[0], "9.0")
    assert look(fleet, rollout_id)[0] == "rolling"
    assert [HEADER in board.claim(facts_sha256="e" * 64).headers for board in boards[:1]] == [False]
    for board in boards[1:]:
        assert HEADER in board.claim().headers
        assert take(board).status_code == 200
        check_in(board, "9.0")
    assert look(fleet, rollout_id) == ("completed", {"b0": "updated", "b1": "updated", "b2": "updated"})
    assert fleet.get("/v1/rollouts")["items"][0]["counts"] == {"updated": 3}


def test_a_canary_that_fails_stops_it_and_says_why(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    canary, other = fleet.add_device("b0"), fleet.add_device("b1")
    rollout_id = start(fleet, max_failures=5)
    assert fail(canary, rollout_id) == 404, "it was not offered yet"
    take(canary)
    assert fail(canary, rollout_id) == 204
    assert look(fleet, rollout_id) == ("stopped", {"b0": "failed", "b1": "pending"})
    assert fleet.get(f"/v1/rollouts/{rollout_id}")["message"] == "1 board failed: b0: no room"
    assert (take(canary).status_code, take(other).status_code) == (404, 404)


def test_it_stops_at_the_number_of_failures_that_it_may_have(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    boards = [fleet.add_device(f"b{i}") for i in range(4)]
    rollout_id = start(fleet, max_failures=2)
    check_in(boards[0], "9.0")
    for board, outcome, expected in ((boards[1], "rolled_back", "rolling"), (boards[2], "failed", "stopped")):
        fleet.sweeper.move_rollouts()
        take(board)
        assert fail(board, rollout_id, outcome) == 204
        assert look(fleet, rollout_id)[0] == expected
    assert look(fleet, rollout_id)[1] == {"b0": "updated", "b1": "rolled_back", "b2": "failed", "b3": "pending"}


def test_a_board_that_took_the_offer_and_is_silent_has_failed(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    board = fleet.add_device("b0")
    rollout_id = start(fleet)
    fleet.clock.advance(3600)
    assert look(fleet, rollout_id) == ("canary", {"b0": "pending"}), "an offline board may take its time"
    take(board)
    fleet.clock.advance(1801)
    assert look(fleet, rollout_id) == ("stopped", {"b0": "failed"})


def test_a_board_that_waits_is_told_at_once(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    board = fleet.add_device("b0")
    held = fleet.begin_held(lambda: board.claim(wait_s=50))
    start(fleet)
    assert held.result(30).headers[HEADER] == "1"


def test_a_board_that_a_person_holds_is_left_alone(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    board = fleet.add_device("b0")
    fleet.post("/v1/devices/b0/hold", {})
    start(fleet, devices=["b0"])
    assert HEADER not in board.claim().headers


@pytest.mark.parametrize(
    "content",
    [b"no zip", make_wheel(name="requests"), make_wheel(stated="8.0"), make_wheel()[:-40]],
    ids=["no zip", "another package", "two versions", "cut off"],
)
def test_what_is_no_wheel_of_the_agent_is_refused(fleet: Fleet, content: bytes) -> None:
    answer = fleet.operator.post("/v1/agent-releases", json={"wheel_sha256": fleet.upload(content)})
    assert (answer.status_code, answer.json()["code"]) == (422, "wheel_refused")


def code_of(fleet: Fleet, path: str, body: JsonObject | None = None) -> str:
    answer = fleet.operator.post(path, json=body)
    assert answer.status_code >= 400, answer.text
    return str(answer.json()["code"])


def test_impossible_releases_and_rollouts_are_refused(fleet: Fleet) -> None:
    wheel = make_wheel()
    add_release(fleet, wheel)
    assert add_release(fleet, wheel) == "9.0", "the same again changes nothing"
    another = fleet.upload(make_wheel(status=1))
    assert code_of(fleet, "/v1/agent-releases", {"wheel_sha256": another}) == "name_taken"
    assert code_of(fleet, "/v1/agent-releases", {"wheel_sha256": "0" * 64}) == "blob_missing"
    assert code_of(fleet, "/v1/rollouts", {"release": "8.0"}) == "unknown_release"
    fleet.add_device("s", kind="simulated")
    assert code_of(fleet, "/v1/rollouts", {"release": "9.0"}) == "no_devices"
    fleet.add_device("b0")
    both = {"release": "9.0", "devices": ["b0"], "match": {"labels": {"rack": "a"}}}
    assert code_of(fleet, "/v1/rollouts", both) == "invalid_request"
    rollout_id = start(fleet)
    assert code_of(fleet, "/v1/rollouts", {"release": "9.0"}) == "state_forbids"
    for _ in range(2):
        assert fleet.post(f"/v1/rollouts/{rollout_id}/cancel")["state"] == "cancelled"
    assert code_of(fleet, "/v1/rollouts/none/cancel") == "not_found"


def test_a_cancelled_rollout_offers_nothing_and_one_that_is_over_is_not_cancelled(fleet: Fleet) -> None:
    add_release(fleet, make_wheel())
    board = fleet.add_device("b0")
    cancelled = start(fleet)
    fleet.post(f"/v1/rollouts/{cancelled}/cancel")
    assert take(board).status_code == 404
    fleet.sweeper.move_rollouts()
    assert HEADER not in board.claim().headers
    check_in(board, "9.0")
    done = start(fleet)
    assert look(fleet, done) == ("completed", {"b0": "updated"})
    assert code_of(fleet, f"/v1/rollouts/{done}/cancel") == "state_forbids"


class UpdatedBoard(Board):
    """A board with the part of the agent that updates it."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        token = fleet.post("/v1/devices", {"name": "b0", "board": "linux-host"})["join_token"]
        super().__init__(fleet, folder, token)
        self.versions = Versions(folder, (("--version",),))
        self.restart()

    def restart(self) -> None:
        self.updating = Updating(self.folder, self.versions, ArtifactCache(self.folder / "cache", 0), StopSwitch())

    def round(self, version: str = "0.1.0") -> bool:
        """One claim, and what follows; True if the agent would end to be started in another version."""
        self.claim(facts=device_facts() | {"agent_version": version}, facts_sha256=version[0] * 64)
        self.updating.checked_in(self.client)
        return self.client.is_update_offered and self.updating.take(self.client, self.device_id, self.credentials)


@pytest.fixture
def updated(fleet: Fleet, tmp_path: Path) -> UpdatedBoard:
    return UpdatedBoard(fleet, tmp_path / "board")


def test_an_agent_installs_what_it_is_offered_and_the_controller_sees_it(
    fleet: Fleet, updated: UpdatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_release(fleet, make_wheel())
    rollout_id = start(fleet)
    assert updated.round() is True
    assert updated.versions.current() == "9.0"
    assert look(fleet, rollout_id) == ("canary", {"b0": "offered"})
    monkeypatch.setenv(LAUNCHED, str(updated.folder / "versions" / "9.0"))
    updated.restart()
    assert updated.round("9.0") is False
    assert updated.versions.trial() is None
    assert look(fleet, rollout_id) == ("completed", {"b0": "updated"})
    assert not (updated.folder / "offer.json").exists()


def test_an_agent_that_went_back_says_so(fleet: Fleet, updated: UpdatedBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    add_release(fleet, make_wheel())
    rollout_id = start(fleet)
    assert updated.round() is True
    monkeypatch.setattr(updated.versions, "_execute", lambda *_: None)
    for _ in range(4):
        updated.versions.hand_over(["run"])
    updated.restart()
    assert updated.round() is False
    assert look(fleet, rollout_id) == ("stopped", {"b0": "rolled_back"})
    assert "did not check in" in fleet.get(f"/v1/rollouts/{rollout_id}")["message"]


def test_a_version_that_fails_its_own_check_is_not_installed_and_is_told_of(
    fleet: Fleet, updated: UpdatedBoard
) -> None:
    add_release(fleet, make_wheel(status=1))
    rollout_id = start(fleet)
    assert [updated.round(), updated.round()] == [False, False]
    assert updated.versions.current() is None
    assert look(fleet, rollout_id) == ("stopped", {"b0": "failed"})
    assert "--version" in fleet.get(f"/v1/rollouts/{rollout_id}")["message"]


def test_an_offer_that_was_tampered_with_is_refused(fleet: Fleet, updated: UpdatedBoard) -> None:
    add_release(fleet, make_wheel())
    start(fleet)
    asked = Asked(updated.device_id, NONCE)
    offer = updated.client.take_update(NONCE)
    updated.credentials.require_update(offer, asked, updated.client)
    wrong = [
        (offer.model_copy(update={"sha256": "0" * 64}), asked, "not the one"),
        (offer.model_copy(update={"version": "9.1"}), asked, "not the one"),
        (offer.model_copy(update={"signature": None}), asked, "no key"),
        (offer, Asked(updated.device_id, "1" * 32), "another request"),
        (offer, Asked("dev_other", NONCE), "another request"),
    ]
    for offered, question, reason in wrong:
        with pytest.raises(UpdateFailed, match=reason):
            updated.credentials.require_update(offered, question, updated.client)


def test_only_the_board_that_is_offered_a_wheel_gets_it(fleet: Fleet) -> None:
    wheel = make_wheel()
    add_release(fleet, wheel)
    canary, other = fleet.add_device("b0"), fleet.add_device("b1")
    start(fleet)
    path = f"/agent/v1/blobs/{fleet.upload(wheel)}"
    assert fleet.anonymous.get(path, headers=canary.headers).content == wheel
    assert fleet.anonymous.get(path, headers=other.headers).status_code == 404
