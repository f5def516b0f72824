"""Changes in what an artifact measures: found once, stored, told on the API, in the stream and to webhooks."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from tests.integration.controller.conftest import Device, Fleet, JsonObject

from edgefleet_controller.client import Client, ClientError
from edgefleet_controller.db.tables import Result, Run
from edgefleet_controller.regressions.delivery import PAUSES, deliver_due
from edgefleet_controller.regressions.sending import NotDelivered, sign

STEADY_MS = [10.0, 10.1, 9.9, 10.05, 9.95] * 3
SHA256 = "a" * 64


class Board:
    """A device whose measurements of one artifact are put into the store as reports leave them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.device: Device = fleet.add_device()
        self.job: JsonObject = fleet.add_job()
        self.n = 0

    def measure(self, *latencies_ms: float, **changes: object) -> None:
        """One completed measurement for each latency, a minute apart."""
        for latency_ms in latencies_ms:
            self.n += 1
            self.fleet.clock.advance(60)
            now = self.fleet.clock.now()
            run = Run(
                id=f"run_{self.n:05d}", kind="measure", job_id=self.job["id"], variant_id=self.job["variants"][0]["id"],
                settings_ordinal=self.n, device_id=self.device.device_id, artifact_sha256=SHA256, state="completed",
                order={"settings": {"threads": 1}}, created_at=now, finished_at=now,
            )  # fmt: skip
            result = Result(
                run_id=run.id, attempt=1, job_id=run.job_id, report={}, report_sha256="0" * 64, latency_p50_ms=latency_ms,
                energy_reason="no_sensor", created_at=now, **({"provenance": "measured", "verdict": "valid"} | changes),
            )  # fmt: skip
            with self.fleet.services.database.writing() as session:
                session.add(run)
                session.flush()
                session.add(result)
        self.fleet.clock.advance(10)
        self.fleet.sweeper.watch_regressions()


@pytest.fixture
def board(each_fleet: Fleet) -> Board:
    board = Board(each_fleet)
    each_fleet.sweeper.watch_regressions()  # from now on results are watched
    return board


def found(fleet: Fleet, **query: object) -> list[JsonObject]:
    return list(fleet.get("/v1/regressions", **query)["items"])


def test_change_is_found_once_and_told_with_its_place(board: Board) -> None:
    board.measure(*STEADY_MS)
    assert found(board.fleet) == []
    board.measure(12.0, 12.1, 11.9, 12.05)
    [one] = found(board.fleet)
    assert (one["figure"], one["direction"]) == ("latency_p50_ms", "worse")
    assert one["changed_run_id"] == "run_00016"
    assert one["ratio"] == pytest.approx(1.2, abs=0.02)
    assert one["p_value"] <= 0.005
    events = [event["kind"] for event in board.fleet.get(f"/v1/jobs/{board.job['id']}/events")["items"]]
    assert events.count("regression_found") == 1
    board.measure(12.0, 12.1, 11.9, 12.05, 12.0, 11.95, 12.1)
    assert len(found(board.fleet)) == 1, "the same change is not found again"


def test_other_provenance_and_invalid_measurements_do_not_count(board: Board) -> None:
    board.measure(*STEADY_MS)
    board.measure(*[20.0] * 5, provenance="simulated")
    board.measure(*[20.0] * 5, verdict="invalid")
    assert found(board.fleet) == []


def test_change_that_was_noted_is_no_longer_open(board: Board) -> None:
    board.measure(*STEADY_MS, *[12.0, 12.1, 11.9, 12.05])
    [one] = found(board.fleet, open=True)
    noted = board.fleet.post(f"/v1/regressions/{one['id']}/acknowledge")
    assert noted["acknowledged_by"]
    assert found(board.fleet, open=True) == []
    assert [row["id"] for row in found(board.fleet, open=False)] == [one["id"]]
    assert board.fleet.operator.get("/v1/regressions/reg_X").status_code == 404


def test_stream_tells_of_a_change_and_goes_on_where_it_ended(board: Board) -> None:
    board.measure(*STEADY_MS, *[12.0, 12.1, 11.9, 12.05])
    [one] = found(board.fleet)
    with Client(board.fleet.url, board.fleet.services.operator_token) as client:
        assert next(client.follow_regressions(after="reg_0"))["id"] == one["id"]


class Taken:
    """A sender that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.messages: list[tuple[str, bytes, Mapping[str, str]]] = []

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        if self.failures:
            self.failures -= 1
            raise NotDelivered("hook.example answered 500")
        self.messages.append((url, body, headers))


def test_webhook_is_told_until_it_takes_the_message(board: Board) -> None:
    fleet, services = board.fleet, board.fleet.services
    hook = fleet.post("/v1/webhooks", {"url": "https://hook.example/edgefleet"})
    assert "secret" not in fleet.get("/v1/webhooks")["items"][0]
    board.measure(*STEADY_MS, *[12.0, 12.1, 11.9, 12.05])
    sender = Taken(failures=1)
    assert deliver_due(services, sender) == 0
    assert deliver_due(services, sender) == 0, "it waits before it tries again"
    [delivery] = fleet.get(f"/v1/webhooks/{hook['id']}/deliveries")["items"]
    assert (delivery["state"], delivery["message"]) == ("queued", "hook.example answered 500")
    fleet.clock.advance(PAUSES[0] / timedelta(seconds=1) + 1)
    assert deliver_due(services, sender) == 1
    assert deliver_due(services, sender) == 0
    [(url, body, headers)] = sender.messages
    assert url == "https://hook.example/edgefleet"
    assert json.loads(body)["regression"]["id"] == found(fleet)[0]["id"]
    at_s = int(headers["X-Edgefleet-Signature"].removeprefix("t=").partition(",")[0])
    assert headers["X-Edgefleet-Signature"] == sign(hook["secret"], at_s, body)
    assert fleet.get(f"/v1/webhooks/{hook['id']}/deliveries")["items"][0]["state"] == "delivered"


def test_webhook_that_never_takes_it_is_given_up(board: Board) -> None:
    fleet, sender = board.fleet, Taken(failures=99)
    hook = fleet.post("/v1/webhooks", {"url": "https://hook.example/"})
    board.measure(*STEADY_MS, *[12.0, 12.1, 11.9, 12.05])
    for _ in range(len(PAUSES) + 3):
        deliver_due(fleet.services, sender)
        fleet.clock.advance(86400)
    [delivery] = fleet.get(f"/v1/webhooks/{hook['id']}/deliveries")["items"]
    assert (delivery["state"], delivery["attempts"]) == ("failed", len(PAUSES) + 1)
    assert fleet.operator.delete(f"/v1/webhooks/{hook['id']}").status_code == 204
    assert fleet.get("/v1/webhooks")["items"] == []


def test_webhook_into_the_network_is_refused(fleet: Fleet) -> None:
    with Client(fleet.url, fleet.services.operator_token) as client, pytest.raises(ClientError) as caught:
        client.add_webhook("https://169.254.169.254/")
    assert caught.value.code == "webhook_refused"
