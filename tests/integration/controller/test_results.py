"""The table and the front of a job."""

import pytest
from sqlalchemy import select
from tests.integration.controller.conftest import LATENCIES_NS, Device, Fleet, JsonObject, latency_blob, make_report

from edgefleet_controller.db.tables import Result, Run, Variant


def measure(
    fleet: Fleet,
    job: JsonObject,
    device: Device,
    variant: int,
    *,
    factor: float,
    accuracy: float,
    n_bytes: int,
    **changes: object,
) -> None:
    """Measure a variant: its latencies are LATENCIES_NS times ``factor``."""
    fleet.enqueue(job, device, variant=variant, content=f"{variant}".encode() * n_bytes)
    order = device.order()
    latencies = [int(value * factor) for value in LATENCIES_NS]
    blob = latency_blob(latencies)
    device.upload(blob)
    figures = {"accuracy": {"value": accuracy, "n": 100, "n_correct": int(accuracy * 100)}, **changes}
    answer = device.report(order, make_report(order["artifact"]["sha256"], blob, latencies, **figures))
    assert answer.status_code == 200, answer.text


@pytest.fixture
def job(each_fleet: Fleet) -> JsonObject:
    """baseline; int8 is 4 x smaller and 2 x faster at 99 %; prune50 is beaten by int8 in both."""
    device = each_fleet.add_device("bench")
    job = each_fleet.add_job(("baseline", "int8", "prune50"))
    measure(each_fleet, job, device, 0, factor=1.0, accuracy=1.0, n_bytes=4000)
    measure(each_fleet, job, device, 1, factor=0.5, accuracy=0.99, n_bytes=1000)
    measure(each_fleet, job, device, 2, factor=0.75, accuracy=0.98, n_bytes=2000)
    return job


def test_ratios_refer_to_the_baseline_on_the_same_device(each_fleet: Fleet, job: JsonObject) -> None:
    baseline, int8, prune50 = each_fleet.get("/v1/results", job=job["id"])["items"]
    assert [row["size_ratio"] for row in (baseline, int8, prune50)] == [1, 4, 2]
    assert [row["retention"] for row in (baseline, int8, prune50)] == [1, 0.99, 0.98]
    assert int8["speedup_p50"] == pytest.approx(2.0, rel=1e-3)
    assert baseline["latency_ms"]["p50"] == pytest.approx(1.0495)
    assert int8["latency_ms"]["n"] == 700


def test_rows_of_two_targets_name_both_references(each_fleet: Fleet) -> None:
    """Each target's own baseline, and the baseline of the job's first target, which compares runtimes."""
    device = each_fleet.add_device("bench")
    job = each_fleet.add_job(("baseline", "int8"), targets=["onnxruntime", "litert"])
    for variant, (factor, n_bytes) in enumerate([(1.0, 4000), (0.5, 2000), (0.5, 1000), (0.1, 500)]):
        measure(each_fleet, job, device, variant, factor=factor, accuracy=1.0, n_bytes=n_bytes)

    rows = each_fleet.get("/v1/results", job=job["id"])["items"]

    assert [row["name"] for row in rows] == ["baseline", "baseline@litert", "int8", "int8@litert"]
    last = rows[3]
    assert last["reference"] == "baseline@litert"
    assert last["speedup_p50"] == pytest.approx(5.0, rel=1e-3)
    assert (last["across_targets"]["reference"], last["across_targets"]["reference_target"]) == (
        "baseline",
        "onnxruntime",
    )
    assert last["across_targets"]["speedup_p50"] == pytest.approx(10.0, rel=1e-3)
    assert last["across_targets"]["size_ratio"] == pytest.approx(8.0)


def test_the_front_leaves_out_what_is_beaten_in_both_figures(each_fleet: Fleet, job: JsonObject) -> None:
    rows = each_fleet.get("/v1/results", job=job["id"])["items"]
    assert [row["on_front"] for row in rows] == [True, True, False]
    front = each_fleet.get("/v1/front", job=job["id"])
    assert [(point["name"], point["on_front"]) for point in front["points"]] == [
        ("int8", True),
        ("prune50", False),
        ("baseline", True),
    ]


def test_other_figures_may_be_axes(each_fleet: Fleet, job: JsonObject) -> None:
    front = each_fleet.get("/v1/front", job=job["id"], x="size_bytes", y="latency_p50_ms")
    assert [point["name"] for point in front["points"] if point["on_front"]] == ["int8"]
    assert (front["x"]["direction"], front["y"]["direction"]) == ("minimise", "minimise")


def test_a_front_with_a_confidence_keeps_what_may_be_better(each_fleet: Fleet, job: JsonObject) -> None:
    sure = each_fleet.get("/v1/front", job=job["id"], confidence=0.95)
    assert sure["confidence"] == 0.95
    kept = {point["name"] for point in sure["points"] if point["on_front"]}
    assert kept >= {
        point["name"] for point in each_fleet.get("/v1/front", job=job["id"])["points"] if point["on_front"]
    }
    answer = each_fleet.operator.get("/v1/front", params={"job": job["id"], "confidence": 0.5})
    assert answer.status_code == 422


def test_rows_without_a_figure_are_left_out_with_the_reason(each_fleet: Fleet, job: JsonObject) -> None:
    front = each_fleet.get("/v1/front", job=job["id"], x="energy_mj")
    assert front["points"] == []
    assert {row["reason"] for row in front["left_out"]} == {"no gross energy per inference (mJ)"}


def test_an_unknown_figure_is_refused(each_fleet: Fleet, job: JsonObject) -> None:
    answer = each_fleet.operator.get("/v1/front", params={"job": job["id"], "x": "colour"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_axis")


def test_the_table_is_paged_and_ratios_refer_to_the_whole(each_fleet: Fleet, job: JsonObject) -> None:
    rows, cursor = [], None
    while True:
        page = each_fleet.get("/v1/results", job=job["id"], limit=1, **({"cursor": cursor} if cursor else {}))
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [row["size_ratio"] for row in rows] == [1, 4, 2]


def test_simulated_figures_stay_out_of_fronts_unless_asked_for(fleet: Fleet) -> None:
    real, simulated = fleet.add_device("real"), fleet.add_device("simulated", kind="simulated")
    job = fleet.add_job()
    measure(fleet, job, real, 0, factor=1.0, accuracy=0.9, n_bytes=10)
    measure(fleet, job, simulated, 0, factor=0.1, accuracy=1.0, n_bytes=10, provenance="simulated")

    measured = fleet.get("/v1/front", job=job["id"])
    asked = fleet.get("/v1/front", job=job["id"], provenance="simulated")
    mixed = fleet.operator.get("/v1/front", params={"job": job["id"], "provenance": ["measured", "simulated"]})

    assert [(point["device_name"], point["on_front"]) for point in measured["points"]] == [("real", True)]
    assert measured["left_out"][0]["reason"] == "its figures are simulated"
    assert [point["device_name"] for point in asked["points"]] == ["simulated"]
    assert (mixed.status_code, mixed.json()["code"]) == (422, "provenance_mixed")
    rows = {row["device_name"]: row for row in fleet.get("/v1/results", job=job["id"])["items"]}
    assert (rows["real"]["on_front"], rows["simulated"]["on_front"]) == (True, False)
    assert rows["simulated"]["provenance"] == "simulated"


def test_an_invalid_measurement_is_not_on_the_front(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job()
    verdict = {"status": "invalid", "reasons": ["non_finite_output"]}
    measure(fleet, job, device, 0, factor=1.0, accuracy=0.9, n_bytes=10, verdict=verdict)
    assert fleet.get("/v1/front", job=job["id"])["points"] == []


def test_no_speedup_is_derived_from_an_invalid_latency(fleet: Fleet) -> None:
    device = fleet.add_device()
    job = fleet.add_job(("baseline", "int8"))
    throttled = {"status": "invalid", "reasons": ["throttled_now"]}
    measure(fleet, job, device, 0, factor=3.0, accuracy=1.0, n_bytes=4000, verdict=throttled)
    measure(fleet, job, device, 1, factor=0.5, accuracy=0.99, n_bytes=1000)
    baseline, int8 = fleet.get("/v1/results", job=job["id"])["items"]
    assert baseline["latency_ms"]["p50"] is not None
    assert [baseline["speedup_p50"], int8["speedup_p50"]] == [None, None]
    assert (int8["size_ratio"], int8["retention"]) == (4, 0.99)


def test_measured_energy_has_its_scope(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job()
    energy = {"value_mj": 3.5, "expanded_uncertainty_mj": 0.2, "scope": "board_5v_input"}
    measure(fleet, job, device, 0, factor=1.0, accuracy=0.9, n_bytes=10, energy=energy)
    (row,) = fleet.get("/v1/results", job=job["id"])["items"]
    assert row["energy"] == energy | {"reason": None}


def test_variants_that_were_not_dispatched_keep_their_row(fleet: Fleet) -> None:
    fleet.add_device()
    job = fleet.add_job(("baseline", "int8"))
    rows = fleet.get("/v1/results", job=job["id"])["items"]
    assert [(row["name"], row["verdict"]["status"], row["device_id"]) for row in rows] == [
        ("baseline", "pending", None),
        ("int8", "pending", None),
    ]


def test_the_pages_take_the_interval_over_launches_where_there_is_one_as_the_api_does(
    each_fleet: Fleet, job: JsonObject
) -> None:
    over_samples = points_of(each_fleet, job)["baseline"]
    with each_fleet.services.database.writing() as session:
        result = session.scalars(
            select(Result)
            .join(Run, Run.id == Result.run_id)
            .join(Variant, Variant.id == Run.variant_id)
            .where(Variant.name == "baseline")
        ).one()
        latency = {**result.report["latency_ms"], "launch_intervals": {"p50": [0.9, 1.2]}}
        result.report = {**result.report, "latency_ms": latency}

    over_launches = points_of(each_fleet, job)["baseline"]

    assert over_launches == pytest.approx([1.0495, 1.0495 - 0.15, 1.0495 + 0.15])  # as wide, around the median
    assert over_samples[1] > over_launches[1]


def points_of(fleet: Fleet, job: JsonObject) -> dict[str, list[float]]:
    """Variant -> [p50, low, high] as the page of the front draws it."""
    answer = fleet.operator.get("/front/points.json", params={"job": job["id"]})
    return {point["name"]: point["figures"]["latency_p50_ms"] for point in answer.json()["points"]}


def test_emulated_times_are_shown_nowhere(fleet: Fleet) -> None:
    real, emulated = fleet.add_device("real"), fleet.add_device("emulated", kind="emulated")
    job = fleet.add_job()
    measure(fleet, job, real, 0, factor=1.0, accuracy=0.9, n_bytes=10)
    measure(
        fleet,
        job,
        emulated,
        0,
        factor=1.0,
        accuracy=1.0,
        n_bytes=10,
        provenance="emulated",
        verdict={"status": "invalid", "reasons": ["emulated"]},
    )
    rows = {row["device_name"]: row for row in fleet.get("/v1/results", job=job["id"])["items"]}
    shown = rows["emulated"]
    assert (shown["run_state"], shown["provenance"], shown["accuracy_device"]) == ("completed", "emulated", 1.0)
    assert [shown[name] for name in ("latency_ms", "speedup_p50", "peak_memory_bytes")] == [None, None, None]
    assert (shown["energy"]["reason"], shown["on_front"]) == ("emulated", False)
    assert rows["real"]["latency_ms"]["n"] == 700
    for provenance in ("measured", "emulated"):
        front = fleet.get("/v1/front", job=job["id"], provenance=provenance)
        assert "emulated" not in [point["device_name"] for point in front["points"]]
    page = fleet.operator.get("/front", params={"job": job["id"], "simulated": "true"}).text
    assert '<a href="/runs/' + rows["real"]["run_id"] in page
    assert rows["emulated"]["run_id"] not in page
