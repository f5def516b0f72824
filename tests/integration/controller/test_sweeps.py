"""A job that measures each variant with several settings."""

from typing import Any

from tests.integration.controller.conftest import Device, Fleet, JsonObject, latency_blob, make_report

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_controller.runs.service import enqueue_run

SWEEP = [{"threads": 1}, {"threads": 2}, {"threads": 2, "batch": 8}]


def dispatch(fleet: Fleet, job: JsonObject, device: Device) -> list[str]:
    """What the workflow does for the job's first variant once it was compiled; returns the runs."""
    first, _ = fleet.enqueue(job, device)
    order = fleet.run(first)["order"]
    variant_id, found = job["variants"][0]["id"], [first]
    with fleet.services.database.writing() as session:
        for ordinal, settings in list(enumerate(SWEEP))[1:]:
            swept = order | {"settings": MeasureSettings.model_validate(settings).model_dump()}
            run = enqueue_run(session, job["id"], variant_id, device.device_id, swept, settings_ordinal=ordinal)
            found.append(run.id)
    return found


def answer_all(fleet: Fleet, device: Device, latencies_ns: list[list[int]]) -> None:
    for latencies in latencies_ns:
        order = device.order()
        device.upload(latency_blob(latencies))
        report = make_report(order["artifact"]["sha256"], latency_blob(latencies), latencies)
        report["latency_ms"]["throughput_per_s"] = 1000.0 * order["settings"]["batch"]
        assert device.report(order, report).status_code == 200


def swept_job(fleet: Fleet) -> tuple[Device, JsonObject]:
    device, job = fleet.add_device(), fleet.add_job(settings=SWEEP)
    dispatch(fleet, job, device)
    return device, job


def series(latency_ns: int) -> list[int]:
    return [latency_ns + i % 100 for i in range(700)]


def test_every_settings_gets_a_run_and_a_row_of_its_own(each_fleet: Fleet) -> None:
    device, job = swept_job(each_fleet)
    answer_all(each_fleet, device, [series(4_000_000), series(2_000_000), series(9_000_000)])
    rows = each_fleet.get("/v1/results", job=job["id"])["items"]
    assert [(row["settings_ordinal"], row["settings"]) for row in rows] == [
        (0, {"threads": 1, "batch": 1}),
        (1, {"threads": 2, "batch": 1}),
        (2, {"threads": 2, "batch": 8}),
    ]
    assert [row["latency_ms"]["throughput_per_s"] for row in rows] == [1000.0, 1000.0, 8000.0]
    # a call with eight samples is slower than one with one, and not beaten by it
    assert [row["on_front"] for row in rows] == [False, True, True]
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["variants"][0]["state"] == "completed"


def test_a_variant_ends_with_the_last_of_its_settings(fleet: Fleet) -> None:
    device, job = swept_job(fleet)
    answer_all(fleet, device, [series(4_000_000), series(2_000_000)])
    assert fleet.get(f"/v1/jobs/{job['id']}")["variants"][0]["state"] == "dispatched"


def test_queueing_the_same_settings_again_finds_the_run(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job(settings=SWEEP)
    first = dispatch(fleet, job, device)
    assert dispatch(fleet, job, device) == first
    assert len(fleet.get("/v1/runs", job=job["id"])["items"]) == 3


def test_pages_and_the_front_tell_the_settings_apart(fleet: Fleet) -> None:
    device, job = swept_job(fleet)
    answer_all(fleet, device, [series(4_000_000), series(2_000_000), series(9_000_000)])
    first = fleet.get("/v1/results", job=job["id"], limit=2)
    rest = fleet.get("/v1/results", job=job["id"], limit=2, cursor=first["next_cursor"])
    assert [row["settings_ordinal"] for row in first["items"] + rest["items"]] == [0, 1, 2]
    front = fleet.get("/v1/front", job=job["id"], y="throughput_per_s")
    assert {point["name"] for point in front["points"]} >= {"baseline (threads 2, batch 8)"}
    best = [point for point in front["points"] if point["on_front"]]
    assert {point["y"] for point in best} == {1000.0, 8000.0}
    page = fleet.operator.get(f"/jobs/{job['id']}").text
    assert "batch 8" in page
    assert "8000" in page


def test_settings_that_cannot_be_are_refused(fleet: Fleet) -> None:
    model = fleet.add_model()
    wrong: list[Any] = [[], [{}, {}], [{"threads": 0}], [{"threads": n} for n in range(1, 18)]]
    for settings in wrong:
        body = {"model": model["id"], "recipes": ["baseline"], "settings": settings}
        answer = fleet.operator.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
