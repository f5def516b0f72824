"""The client against a controller whose answers get lost after it has committed."""

import json

import httpx
import pytest
from tests.integration.controller.conftest import Fleet

from edgefleet_controller.client import Client, ClientError, connection


class LosesFirstAnswer(httpx.HTTPTransport):
    """Hands every request over, and loses the first answer to each request that makes something."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        is_first = request.method == "POST" and request.url.path not in self.sent
        self.sent.append(request.url.path)
        if is_first:
            response.read()
            assert response.status_code == 202, response.text
            response.close()
            raise httpx.ReadError("connection lost")
        return response


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_S", 0.0)


def test_dropped_answer_makes_no_second_job(fleet: Fleet) -> None:
    device = fleet.add_device()
    model = fleet.add_model()
    transport = LosesFirstAnswer()
    with Client(fleet.url, fleet.services.operator_token, transport=transport) as client:
        job = client.submit(model["id"], recipes=["baseline"])
        assert [one["id"] for one in client.jobs()] == [job.id]
        fleet.enqueue(job.document, device)
        again = job.remeasure()
        assert {one["id"] for one in client.jobs()} == {job.id, again.id}
        compared = client.submit_comparison({"job": job.id, "variant": "baseline"}, n_comparisons=1)
        assert [one["id"] for one in client.comparisons()] == [compared["id"]]
    assert transport.sent.count(f"/v1/jobs/{job.id}/remeasure") == 2


def test_key_of_a_remeasured_job_is_not_that_of_another(fleet: Fleet) -> None:
    device = fleet.add_device()
    jobs = [fleet.add_job(), fleet.add_job()]
    for job in jobs:
        fleet.enqueue(job, device)
    headers = {"Idempotency-Key": "same"}
    made = [fleet.post(f"/v1/jobs/{job['id']}/remeasure", {}, headers=headers)["remeasure_of"] for job in jobs]
    assert made == [job["id"] for job in jobs]


def test_front_keeps_to_constraints_and_says_why_rows_are_out(fleet: Fleet) -> None:
    fleet.add_device()
    job = fleet.add_job()
    with Client(fleet.url, fleet.services.operator_token) as client:
        assert client.front(job["id"], constraints=["latency_p90_ms <= 20"]).points == ()
        for wrong in ("colour<=1", "accuracy<0.9", "accuracy>=nan", "accuracy"):
            with pytest.raises(ClientError) as caught:
                client.front(job["id"], constraints=[wrong])
            assert caught.value.code == "invalid_constraint", json.dumps(caught.value.problem)
