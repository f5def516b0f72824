"""A/B and A/A comparisons: submitted, leased like other runs, verified, stored. On both back ends where SQL matters."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from tests.integration.controller.conftest import Device, Fleet, JsonObject, latency_blob, make_report, sha256_of

from edgefleet_agent.statistics import wilson_interval
from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.db.tables import Artifact, Comparison, ComparisonResult, Variant

N_PAIRS = 12
CONDITIONS: JsonObject = {
    "host": {"cpu_model": "cpu"},
    "before": {"monotonic_ns": 0},
    "after": {"monotonic_ns": 1},
    "runtime": {"name": "onnxruntime"},
    "settings": {"threads": 1},
}


def add_artifact(fleet: Fleet, name: str, target: str = "onnxruntime") -> str:
    """A compiled file without a job; returns its hash."""
    digest = fleet.upload(name.encode())
    with fleet.services.database.writing() as session:
        row = Artifact(
            key_sha256=sha256_of(b"key of " + name.encode()),
            key={},
            sha256=digest,
            size_bytes=len(name),
            target=target,
            manifest={"file_name": f"{name}.onnx"},
            accuracy_host={},
            created_at=fleet.clock.now(),
        )
        session.add(row)
    return digest


def blocks_blob(n_comparisons: int = 1, n_pairs: int = N_PAIRS) -> bytes:
    sides = [side for pair in range(n_pairs) for side in ((0, 1) if pair % 2 == 0 else (1, 0))]
    n = len(sides) * n_comparisons
    columns = {
        "comparison": [i // len(sides) for i in range(n)],
        "side": sides * n_comparisons,
        "start_ns": list(range(n)),
        "n": [3] * n,
        "p50_ns": [1_000_000] * n,
    }
    return encode_samples(columns)


def report_of(order: JsonObject, blob: bytes, **changes: Any) -> JsonObject:
    """What an agent says of a comparison without a difference."""
    report: JsonObject = {
        "agent_version": "0.1.0",
        "provenance": "measured",
        "artifact": order["artifact"],
        "environment": CONDITIONS,
        "verdict": {"status": "suspect", "reasons": ["host_busy"]},
        "samples": {"blocks": {"sha256": sha256_of(blob), "size_bytes": len(blob)}},
    }
    if order["kind"] == "ab":
        figures = {"ratio": 0.5, "interval": [0.49, 0.51], "confidence": 0.99, "outcome": "faster"}
        report |= {"second": order["second"]["artifact"], "comparison": figures | {"n_pairs": N_PAIRS, "n_kept": 8}}
    else:
        n = order["comparison"]["n_comparisons"]
        counts = {"n_comparisons": n, "n_false_positives": 1, "share": 1 / n, "interval": wilson_interval(1, n)}
        outcomes = ["slower"] + ["no_difference"] * (n - 1)
        report["false_positives"] = counts | {"ratios": [1.02] + [1.0] * (n - 1), "outcomes": outcomes}
    return report | changes


def start_ab(fleet: Fleet, **fields: Any) -> tuple[Device, JsonObject, JsonObject]:
    """A device with a leased A/B run: the device, the comparison and the order."""
    device = fleet.add_device()
    a, b = add_artifact(fleet, "first"), add_artifact(fleet, "second")
    comparison = fleet.post("/v1/comparisons", {"a": a, "b": b, "n_pairs": N_PAIRS} | fields)
    return device, comparison, device.order()


def refusal(fleet: Fleet, **fields: Any) -> tuple[int, str]:
    answer = fleet.operator.post("/v1/comparisons", json=fields)
    return answer.status_code, answer.json()["code"]


class TestSubmitting:
    def test_each_device_gets_an_order_with_both_artifacts(self, fleet: Fleet) -> None:
        device, comparison, order = start_ab(fleet, settings={"threads": 2})
        assert comparison["state"] == "queued"
        assert order["kind"] == "ab"
        assert order["artifact"]["sha256"] == comparison["a"]["sha256"]
        assert order["second"]["artifact"]["sha256"] == comparison["b"]["sha256"]
        assert order["second"]["artifact_name"] == "second.onnx"
        assert order["comparison"] == {
            "n_pairs": N_PAIRS,
            "block_seconds": 0.02,
            "block_min_samples": 3,
            "max_seconds": 60.0,
            "n_comparisons": 1,
        }
        assert order["settings"]["threads"] == 2
        for ref in (order["artifact"], order["second"]["artifact"]):
            path = f"/agent/v1/blobs/{ref['sha256']}"
            assert fleet.anonymous.get(path, headers=device.headers).status_code == 200

    def test_a_variant_of_a_job_is_named_by_job_and_variant(self, fleet: Fleet) -> None:
        device, job = fleet.add_device(), fleet.add_job()
        fleet.enqueue(job, device)
        reference = {"job": job["id"], "variant": "baseline"}
        created = fleet.post("/v1/comparisons", {"kind": "aa", "a": reference})
        assert created["a"]["name"] == "baseline"
        assert created["name"] == "baseline vs itself"
        assert created["b"] is None

    def test_the_answer_to_a_key_is_given_again(self, fleet: Fleet) -> None:
        fleet.add_device()
        body = {"kind": "aa", "a": add_artifact(fleet, "first")}
        answers = [fleet.post("/v1/comparisons", body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert answers[0] == answers[1]
        assert len(fleet.get("/v1/comparisons")["items"]) == 1

    def test_without_names_the_devices_that_can_are_taken(self, fleet: Fleet) -> None:
        fleet.add_device("real")
        fleet.add_device("sim", kind="simulated")
        created = fleet.post("/v1/comparisons", {"kind": "aa", "a": add_artifact(fleet, "first")})
        assert [row["device_name"] for row in created["results"]] == ["real"]


class TestRefused:
    def test_an_artifact_that_does_not_exist(self, fleet: Fleet) -> None:
        fleet.add_device()
        assert refusal(fleet, kind="aa", a="0" * 64) == (422, "unknown_artifact")
        assert refusal(fleet, kind="aa", a={"job": "no", "variant": "no"}) == (422, "unknown_artifact")

    def test_a_variant_that_was_not_compiled(self, fleet: Fleet) -> None:
        fleet.add_device()
        job = fleet.add_job()
        reference = {"job": job["id"], "variant": job["variants"][0]["id"]}
        assert refusal(fleet, kind="aa", a=reference) == (422, "artifact_not_compiled")

    def test_a_device_that_is_not_there_or_does_not_measure(self, fleet: Fleet) -> None:
        fleet.add_device("sim", kind="simulated")
        a = add_artifact(fleet, "first")
        assert refusal(fleet, kind="aa", a=a, devices=["none"]) == (422, "unknown_device")
        assert refusal(fleet, kind="aa", a=a, devices=["sim"]) == (422, "device_cannot_compare")
        assert refusal(fleet, kind="aa", a=a) == (422, "device_cannot_compare")

    def test_a_runtime_that_the_device_lacks(self, fleet: Fleet) -> None:
        device = fleet.add_device()
        facts = {"facts": {**FACTS_WITHOUT_RUNTIMES}, "facts_sha256": "e" * 64, "wait_s": 0}
        fleet.anonymous.post("/agent/v1/claim", json=facts, headers=device.headers)
        assert refusal(fleet, kind="aa", a=add_artifact(fleet, "first"), devices=[device.name]) == (
            422,
            "runtime_missing",
        )

    @pytest.mark.parametrize(
        "fields", [{"kind": "ab"}, {"kind": "aa", "b": "1" * 64}, {"b": "1" * 64, "n_comparisons": 2}, {"n_pairs": 3}]
    )
    def test_fields_that_make_no_sense(self, fleet: Fleet, fields: JsonObject) -> None:
        assert refusal(fleet, a="0" * 64, **fields) == (422, "invalid_request")

    def test_a_comparison_that_does_not_exist(self, fleet: Fleet) -> None:
        assert fleet.operator.get("/v1/comparisons/no").json()["code"] == "not_found"
        assert fleet.operator.post("/v1/comparisons/no/cancel").json()["code"] == "not_found"


FACTS_WITHOUT_RUNTIMES: JsonObject = {
    "agent_version": "0.1.0",
    "board": "linux-host",
    "hostname": "host",
    "machine": "x86_64",
    "system": "Linux",
    "cpu_model": "cpu",
    "n_cores": 2,
    "memory_bytes": 1,
}


class TestReports:
    def test_an_ab_report_is_stored_with_ratio_interval_verdict_and_conditions(self, each_fleet: Fleet) -> None:
        device, comparison, order = start_ab(each_fleet)
        blob = blocks_blob()
        device.upload(blob)
        assert device.report(order, report_of(order, blob)).json() == {"accepted": True, "duplicate": False}
        shown = each_fleet.get(f"/v1/comparisons/{comparison['id']}", wait=30)
        assert shown["state"] == "completed"
        [row] = shown["results"]
        assert row["provenance"] == "measured"
        assert row["comparison"] == {
            "ratio": 0.5,
            "interval": [0.49, 0.51],
            "confidence": 0.99,
            "outcome": "faster",
            "n_pairs": N_PAIRS,
        }
        assert row["verdict"] == {"status": "suspect", "reasons": ["host_busy"]}
        assert row["conditions"]["host"] == {"cpu_model": "cpu"}
        assert row["blocks_sha256"] == sha256_of(blob)
        assert each_fleet.run(row["run_id"])["kind"] == "ab"

    def test_an_aa_report_gives_the_device_s_own_rate_with_its_interval(self, each_fleet: Fleet) -> None:
        device = each_fleet.add_device()
        a = add_artifact(each_fleet, "first")
        comparison = each_fleet.post("/v1/comparisons", {"kind": "aa", "a": a, "n_pairs": 12, "n_comparisons": 10})
        order, blob = device.order(), blocks_blob(10)
        device.upload(blob)
        assert device.report(order, report_of(order, blob)).status_code == 200
        [row] = each_fleet.get(f"/v1/comparisons/{comparison['id']}")["results"]
        rate = row["false_positives"]
        assert (rate["n_comparisons"], rate["n_false_positives"], rate["share"]) == (10, 1, 0.1)
        # Wilson's 95 % interval of 1 in 10 (Brown, Cai and DasGupta 2001, by hand)
        assert rate["interval"] == pytest.approx([0.0179, 0.4042], abs=1e-4)
        [listed] = each_fleet.get("/v1/comparisons")["items"]
        assert listed["results"][0]["conditions"] is None

    def test_the_same_report_again_is_a_duplicate_and_another_is_stale(self, each_fleet: Fleet) -> None:
        device, _, order = start_ab(each_fleet)
        blob = blocks_blob()
        device.upload(blob)
        report = report_of(order, blob)
        answers = [device.report(order, report).json()["duplicate"] for _ in range(2)]
        assert answers == [False, True]
        other = device.report(order, report | {"verdict": {"status": "valid"}})
        assert (other.status_code, other.json()["code"]) == (409, "stale_attempt")
        with each_fleet.services.database.reading() as session:
            assert len(session.scalars(select(ComparisonResult)).all()) == 1

    def test_an_agent_that_could_not_compare_fails_the_run(self, fleet: Fleet) -> None:
        device, comparison, order = start_ab(fleet)
        error = {"code": "artifact_unreadable", "message": "B is no model"}
        changes = {"error": error, "comparison": None, "second": None, "samples": {}, "verdict": {"status": "invalid"}}
        device.report(order, report_of(order, b"", **changes))
        shown = fleet.get(f"/v1/comparisons/{comparison['id']}")
        assert (shown["state"], shown["results"][0]["verdict"]["reasons"]) == ("failed", ["artifact_unreadable"])


def without_blocks(order: JsonObject, blob: bytes) -> JsonObject:
    return report_of(order, blob, samples={})


def about_another(order: JsonObject, blob: bytes) -> JsonObject:
    return report_of(order, blob, second={"sha256": "9" * 64, "size_bytes": 1})


def as_simulated(order: JsonObject, blob: bytes) -> JsonObject:
    return report_of(order, blob, provenance="simulated")


def as_plain_run(order: JsonObject, blob: bytes) -> JsonObject:
    return make_report(order["artifact"]["sha256"])


def with_more_pairs(order: JsonObject, blob: bytes) -> JsonObject:
    report = report_of(order, blob)
    return report | {"comparison": report["comparison"] | {"n_pairs": 13}}


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (without_blocks, "samples_invalid"),
        (about_another, "artifact_mismatch"),
        (as_simulated, "provenance_mismatch"),
        (as_plain_run, "report_refused"),
        (with_more_pairs, "samples_disagree"),
    ],
)
def test_a_report_that_contradicts_its_order_or_its_blocks_fails_the_run(
    fleet: Fleet, lie: Callable[[JsonObject, bytes], JsonObject], code: str
) -> None:
    device, comparison, order = start_ab(fleet)
    blob = blocks_blob()
    device.upload(blob)
    device.upload(latency_blob())
    answer = device.report(order, lie(order, blob))
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert fleet.get(f"/v1/comparisons/{comparison['id']}")["results"][0]["error"]["code"] == code


def test_a_comparison_report_of_a_plain_run_is_refused(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    order, blob = device.order(), blocks_blob()
    device.upload(blob)
    pretended = order | {"kind": "ab", "second": {"artifact": order["artifact"]}}
    assert device.report(order, report_of(pretended, blob)).json()["code"] == "report_refused"


class TestLeases:
    def test_a_device_does_one_thing_at_a_time(self, each_fleet: Fleet) -> None:
        device, _, order = start_ab(each_fleet)
        job = each_fleet.add_job()
        each_fleet.enqueue(job, device)
        assert device.claim().status_code == 204
        blob = blocks_blob()
        device.upload(blob)
        device.report(order, report_of(order, blob))
        assert device.order()["kind"] == "measure"

    def test_a_silent_device_is_tried_three_times(self, each_fleet: Fleet) -> None:
        device, comparison, order = start_ab(each_fleet)
        for attempt in (1, 2, 3):
            assert order["attempt"] == attempt
            each_fleet.clock.advance(61)
            each_fleet.sweeper.end_leases()
            order = device.order() if attempt < 3 else order
        shown = each_fleet.get(f"/v1/comparisons/{comparison['id']}")
        assert (shown["state"], shown["results"][0]["error"]["code"]) == ("failed", "lease_expired")

    def test_cancelling_drops_queued_runs_and_asks_the_others_to_stop(self, each_fleet: Fleet) -> None:
        each_fleet.add_device("second")
        device, comparison, order = start_ab(each_fleet)
        answer = each_fleet.post(f"/v1/comparisons/{comparison['id']}/cancel")
        assert [row["state"] for row in answer["results"]] == ["leased", "cancelled"]
        assert device.heartbeat(order).json()["cancel"] is True
        error = {"code": "cancelled", "message": "stopped"}
        changes = {"error": error, "comparison": None, "second": None, "samples": {}, "verdict": {"status": "invalid"}}
        device.report(order, report_of(order, b"", **changes))
        assert each_fleet.get(f"/v1/comparisons/{comparison['id']}")["state"] == "cancelled"
        again = each_fleet.operator.post(f"/v1/comparisons/{comparison['id']}/cancel")
        assert again.status_code == 202

    def test_an_ended_comparison_cannot_be_cancelled(self, fleet: Fleet) -> None:
        device, comparison, order = start_ab(fleet)
        blob = blocks_blob()
        device.upload(blob)
        device.report(order, report_of(order, blob))
        answer = fleet.operator.post(f"/v1/comparisons/{comparison['id']}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "state_forbids")

    def test_a_revoked_device_ends_its_comparisons(self, fleet: Fleet) -> None:
        device = fleet.add_device()
        comparison = fleet.post("/v1/comparisons", {"kind": "aa", "a": add_artifact(fleet, "first")})
        fleet.post(f"/v1/devices/{device.name}/revoke")
        [row] = fleet.get(f"/v1/comparisons/{comparison['id']}")["results"]
        assert row["error"]["code"] == "device_revoked"


def test_a_held_request_is_answered_when_the_comparison_ends(fleet: Fleet) -> None:
    device, comparison, order = start_ab(fleet)
    blob = blocks_blob()
    device.upload(blob)
    held = fleet.begin_held(lambda: fleet.get(f"/v1/comparisons/{comparison['id']}", wait=30))
    device.report(order, report_of(order, blob))
    assert held.result(timeout=30)["state"] == "completed"


def test_pages_go_on_where_the_last_ended(fleet: Fleet) -> None:
    fleet.add_device()
    a = add_artifact(fleet, "first")
    created = [fleet.post("/v1/comparisons", {"kind": "aa", "a": a})["id"] for _ in range(3)]
    first = fleet.get("/v1/comparisons", limit=2)
    rest = fleet.get("/v1/comparisons", limit=2, cursor=first["next_cursor"])
    assert [item["id"] for item in first["items"] + rest["items"]] == created[::-1]


def test_the_rows_of_a_job_stay_those_of_the_job(fleet: Fleet) -> None:
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device)
    fleet.post("/v1/comparisons", {"kind": "aa", "a": {"job": job["id"], "variant": "baseline"}})
    assert len(fleet.get("/v1/results", job=job["id"])["items"]) == 1
    with fleet.services.database.reading() as session:
        assert session.scalars(select(Comparison)).one().kind == "aa"
        assert session.scalars(select(Variant)).one().state == "dispatched"
