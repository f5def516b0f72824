"""Reports: stored once, fenced, and checked against the device, the order and the raw samples. On both back ends."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.integration.controller.conftest import (
    LATENCIES_NS,
    Device,
    Fleet,
    JsonObject,
    latency_blob,
    make_report,
    sha256_of,
)

from edgefleet_controller.db.tables import Result


def lease_one(fleet: Fleet, kind: str = "physical") -> tuple[Device, JsonObject, JsonObject]:
    """A device with a leased run: the device, the order and the job."""
    device, job = fleet.add_device(kind=kind), fleet.add_job()
    fleet.enqueue(job, device)
    return device, device.order(), job


def n_results(fleet: Fleet) -> int:
    with fleet.services.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Result)) or 0


def failed_run(**changes: Any) -> JsonObject:
    """What a report without figures says."""
    error = {"code": "runner_crashed", "message": "signal 11"}
    nothing: JsonObject = dict.fromkeys(("latency_ms", "energy", "accuracy", "memory"))
    return nothing | {"samples": {}, "verdict": {"status": "invalid"}, "error": error} | changes


def test_an_accepted_report_ends_the_run_and_its_variant(each_fleet: Fleet) -> None:
    device, order, job = lease_one(each_fleet)
    device.upload(latency_blob())

    answer = device.report(order, make_report(order["artifact"]["sha256"]))

    assert answer.json() == {"accepted": True, "duplicate": False}
    assert each_fleet.run(order["run_id"])["state"] == "completed"
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["variants"][0]["state"] == "completed"


def test_the_same_report_again_is_a_duplicate_and_stored_once(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    report = make_report(order["artifact"]["sha256"])
    device.report(order, report)

    again = device.report(order, report)

    assert again.json() == {"accepted": True, "duplicate": True}
    assert n_results(each_fleet) == 1


def test_the_same_report_from_several_connections_at_once_is_stored_once(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    report = make_report(order["artifact"]["sha256"])
    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(device.report, order, report) for _ in range(4)]]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False, True, True, True]
    assert n_results(each_fleet) == 1


def test_another_report_of_an_ended_run_is_refused(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    report = make_report(order["artifact"]["sha256"])
    device.report(order, report)
    other = device.report(order, {**report, "accuracy": {"value": 1.0, "n": 1, "n_correct": 1}})
    assert (other.status_code, other.json()["code"]) == (409, "stale_attempt")


def test_a_late_report_of_an_older_attempt_is_refused(each_fleet: Fleet) -> None:
    device, old, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    each_fleet.clock.advance(61)
    each_fleet.sweeper.end_leases()
    new = device.order()
    report = make_report(old["artifact"]["sha256"])

    late = device.report(old, report)

    assert (late.status_code, late.json()["code"]) == (409, "stale_attempt")
    assert n_results(each_fleet) == 0
    assert device.report(new, report).status_code == 200


def test_a_late_report_is_refused_even_before_the_run_is_leased_again(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    each_fleet.clock.advance(61)
    each_fleet.sweeper.end_leases()
    assert device.report(order, make_report(order["artifact"]["sha256"])).status_code == 409


def test_a_report_whose_samples_were_not_uploaded_may_be_repeated(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    report = make_report(order["artifact"]["sha256"])

    early = device.report(order, report)

    assert (early.status_code, early.json()["code"], early.json()["retry"]) == (422, "samples_missing", True)
    device.upload(latency_blob())
    assert device.report(order, report).status_code == 200


@pytest.mark.parametrize(
    ("kind", "provenance"), [("physical", "simulated"), ("simulated", "measured"), ("replay", "measured")]
)
def test_a_device_reports_only_the_provenance_of_its_kind(fleet: Fleet, kind: str, provenance: str) -> None:
    device, order, _ = lease_one(fleet, kind)
    device.upload(latency_blob())

    answer = device.report(order, make_report(order["artifact"]["sha256"], provenance=provenance))

    assert (answer.status_code, answer.json()["code"]) == (422, "provenance_mismatch")
    run = fleet.run(order["run_id"])
    assert (run["state"], run["error"]["code"]) == ("failed", "provenance_mismatch")
    assert n_results(fleet) == 0


def test_a_report_about_another_file_fails_the_run(each_fleet: Fleet) -> None:
    device, order, _ = lease_one(each_fleet)
    device.upload(latency_blob())
    answer = device.report(order, make_report("0" * 64))
    assert (answer.status_code, answer.json()["code"]) == (422, "artifact_mismatch")
    assert each_fleet.run(order["run_id"])["error"]["code"] == "artifact_mismatch"


@pytest.mark.parametrize("figure", ["p50", "p90", "p99", "mean", "minimum", "maximum"])
def test_figures_that_the_samples_do_not_give_are_refused(fleet: Fleet, figure: str) -> None:
    device, order, _ = lease_one(fleet)
    device.upload(latency_blob())
    report = make_report(order["artifact"]["sha256"])
    report["latency_ms"][figure] *= 0.9

    answer = device.report(order, report)

    assert (answer.status_code, answer.json()["code"]) == (422, "samples_disagree")
    assert answer.json()["figure"] == figure
    assert fleet.run(order["run_id"])["error"]["code"] == "samples_disagree"


@pytest.mark.parametrize(
    "intervals",
    [{}, {"p50": [1.049, 1.051], "p90": [1.0, 1.1], "p99": [1.0, 1.1]}, {"p50": [0.5, 2.0], "p999": [0.1, 9.0]}],
    ids=["withheld", "too narrow", "of another percentile"],
)
def test_intervals_that_the_samples_do_not_give_are_refused(fleet: Fleet, intervals: dict[str, list[float]]) -> None:
    device, order, _ = lease_one(fleet)
    device.upload(latency_blob())
    report = make_report(order["artifact"]["sha256"])
    report["latency_ms"]["intervals"] = intervals

    answer = device.report(order, report)

    assert (answer.status_code, answer.json()["code"]) == (422, "samples_disagree")
    assert answer.json()["figure"].startswith("intervals.")


def test_a_sample_count_that_the_samples_do_not_give_is_refused(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    blob = latency_blob(LATENCIES_NS[:-1])
    device.upload(blob)
    answer = device.report(order, make_report(order["artifact"]["sha256"], blob))
    assert answer.json()["code"] == "samples_disagree"


def test_a_percentile_without_enough_samples_is_refused(fleet: Fleet) -> None:
    """p99 of 20 samples must be null; an agent that publishes one all the same is not believed."""
    device, order, _ = lease_one(fleet)
    few = LATENCIES_NS[:20]
    blob = latency_blob(few)
    device.upload(blob)
    report = make_report(order["artifact"]["sha256"], blob, few)
    assert report["latency_ms"]["p99"] is None
    report["latency_ms"]["p99"] = 1.0
    assert device.report(order, report).json()["code"] == "samples_disagree"


@pytest.mark.parametrize("blob", [b"junk", latency_blob()[:-9]])
def test_unreadable_samples_fail_the_run(fleet: Fleet, blob: bytes) -> None:
    device, order, _ = lease_one(fleet)
    device.upload(blob)
    answer = device.report(order, make_report(order["artifact"]["sha256"], blob))
    assert (answer.status_code, answer.json()["code"]) == (422, "samples_invalid")


def test_figures_without_raw_samples_fail_the_run(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    answer = device.report(order, make_report(order["artifact"]["sha256"], samples={}))
    assert answer.json()["code"] == "samples_invalid"


def test_a_failed_run_keeps_its_row_with_the_reason(each_fleet: Fleet) -> None:
    device, order, job = lease_one(each_fleet)

    assert device.report(order, make_report(order["artifact"]["sha256"], **failed_run())).status_code == 200

    (row,) = each_fleet.get("/v1/results", job=job["id"])["items"]
    assert row["verdict"] == {"status": "invalid", "reasons": ["runner_crashed"]}
    assert (row["latency_ms"], row["accuracy_device"], row["peak_memory_bytes"]) == (None, None, None)
    assert row["energy"] == {"value_mj": None, "expanded_uncertainty_mj": None, "scope": None, "reason": "not_measured"}
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["variants"][0]["error"]["code"] == "runner_crashed"


def test_a_run_that_was_to_be_cancelled_ends_as_cancelled(each_fleet: Fleet) -> None:
    device, order, job = lease_one(each_fleet)
    each_fleet.post(f"/v1/jobs/{job['id']}/cancel")
    report = failed_run(error={"code": "cancelled", "message": "as asked"})
    assert device.report(order, make_report(order["artifact"]["sha256"], **report)).status_code == 200
    assert each_fleet.run(order["run_id"])["state"] == "cancelled"
    each_fleet.sweeper.finish_cancels()
    assert each_fleet.get(f"/v1/jobs/{job['id']}")["state"] == "cancelled"


def test_a_run_of_another_device_is_not_found(fleet: Fleet) -> None:
    _, order, _ = lease_one(fleet)
    stranger = fleet.add_device("stranger")
    report = make_report(order["artifact"]["sha256"], **failed_run())
    assert stranger.report(order, report).status_code == 404
    assert stranger.heartbeat(order).status_code == 409


def test_a_report_above_the_limit_is_refused_while_it_arrives(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    report = make_report(order["artifact"]["sha256"], agent_version="x" * 9_000_000)
    answer = device.report(order, report)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_samples_are_taken_only_from_the_device_that_holds_the_run(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    stranger = fleet.add_device("stranger")
    refused = stranger.upload(latency_blob())
    assert (refused.status_code, refused.json()["code"]) == (409, "not_leased")
    assert not fleet.services.blobs.exists(sha256_of(latency_blob()))
    assert device.upload(latency_blob()).status_code == 201
    assert device.upload(latency_blob()).status_code == 200
    assert order["attempt"] == 1


def test_samples_of_an_older_attempt_are_refused(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    blob = latency_blob()
    headers = {**device.headers, "X-Run-Id": order["run_id"], "X-Attempt": "7"}
    answer = fleet.anonymous.put(f"/agent/v1/blobs/{sha256_of(blob)}", content=blob, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "stale_attempt")


def test_samples_of_an_accepted_report_may_be_sent_again(fleet: Fleet) -> None:
    """The agent did not get the answer to its report and starts over."""
    device, order, _ = lease_one(fleet)
    device.upload(latency_blob())
    device.report(order, make_report(order["artifact"]["sha256"]))
    assert device.upload(latency_blob()).status_code == 200


def test_a_device_gets_the_files_of_its_own_run_only(fleet: Fleet) -> None:
    device, order, _ = lease_one(fleet)
    stranger, artifact = fleet.add_device("stranger"), order["artifact"]["sha256"]
    path = f"/agent/v1/blobs/{artifact}"
    assert sha256_of(fleet.anonymous.get(path, headers=device.headers).content) == artifact
    assert fleet.anonymous.get(path, headers=stranger.headers).status_code == 404
    unrelated = fleet.upload(b"a secret model")
    assert fleet.anonymous.get(f"/agent/v1/blobs/{unrelated}", headers=device.headers).status_code == 404


class TestProvenanceOfTheSensor:
    """A physical device whose power was played back says so of the run as a whole."""

    @staticmethod
    def energy(provenance: str) -> JsonObject:
        return {"value_mj": 2.0, "scope": "wall_ac", "sensor": {"chip": "replay", "provenance": provenance}}

    @pytest.mark.parametrize("provenance", ["replayed", "simulated"])
    def test_a_run_with_replayed_power_is_stored_as_such_and_stays_out_of_fronts(
        self, each_fleet: Fleet, provenance: str
    ) -> None:
        device, order, job = lease_one(each_fleet)
        device.upload(latency_blob())
        digest = order["artifact"]["sha256"]
        report = make_report(digest, energy=self.energy(provenance), provenance=provenance)
        assert device.report(order, report).status_code == 200
        [row] = each_fleet.get("/v1/results", job=job["id"])["items"]
        assert (row["provenance"], row["on_front"], row["energy"]["value_mj"]) == (provenance, False, 2.0)
        assert each_fleet.get("/v1/front", job=job["id"])["points"] == []
        asked = each_fleet.get("/v1/front", job=job["id"], provenance=provenance)
        assert [point["on_front"] for point in asked["points"]] == [True]

    @pytest.mark.parametrize(("of_sensor", "stated"), [("replayed", "measured"), ("measured", "replayed")])
    def test_a_run_that_contradicts_its_sensor_is_refused(self, fleet: Fleet, of_sensor: str, stated: str) -> None:
        device, order, _ = lease_one(fleet)
        device.upload(latency_blob())
        digest = order["artifact"]["sha256"]
        answer = device.report(order, make_report(digest, energy=self.energy(of_sensor), provenance=stated))
        assert answer.json()["code"] == "provenance_mismatch"
