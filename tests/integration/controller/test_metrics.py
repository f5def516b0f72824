"""A job's metric beside accuracy, and tasks that are refused."""

import io
from typing import Any

import numpy as np
import pytest
from tests.integration.controller.conftest import Fleet, JsonObject, latency_blob, make_report, sha256_of

from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.db.tables import Artifact, Variant

LABELS = [1, 1, 1, 0, 0, 0, 0, 0]
NAMED = [1, 1, 0, 1, 0, 0, 0, 0]
"""TP 2, FP 1, FN 1, TN 4: F1 = 4/6, MCC = (2 * 4 - 1 * 1) / sqrt(3 * 3 * 5 * 5) = 7/15, accuracy 6/8."""
ON_HOST = {"top1": 1.0, "top5": None, "f1_binary": 1.0, "f1_macro": 1.0, "mcc": 1.0}


def add_host_answers(fleet: Fleet, job: JsonObject, **arrays: Any) -> None:
    """What the compile step leaves beside the artifact of the first variant."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    predictions = fleet.upload(buffer.getvalue())
    with fleet.services.database.writing() as session:
        variant = session.get_one(Variant, job["variants"][0]["id"])
        assert variant.artifact_key is not None
        artifact = session.get_one(Artifact, variant.artifact_key)
        artifact.accuracy_host = {
            "metric": "top1",
            "value": 1.0,
            "metrics": ON_HOST,
            "predictions": {"sha256": predictions},
        }


def measured_row(fleet: Fleet, metric: str, *, with_labels: bool = True) -> JsonObject:
    """The row of a run whose device named NAMED."""
    device = fleet.add_device()
    job = fleet.add_job(metric=metric)
    fleet.enqueue(job, device)
    labels = {"label": np.array(LABELS), "n_classes": np.array(2)} if with_labels else {}
    add_host_answers(fleet, job, prediction=np.array(LABELS), **labels)
    order = device.order()
    latency, named = latency_blob(), encode_samples({"sample": list(range(8)), "prediction": NAMED})
    for blob in (latency, named):
        device.upload(blob)
    report = make_report(order["artifact"]["sha256"], latency, accuracy={"value": 0.75, "n": 8, "n_correct": 6})
    report["samples"]["predictions"] = {"sha256": sha256_of(named), "size_bytes": len(named)}
    answer = device.report(order, report)
    assert answer.status_code == 200, answer.text
    row: JsonObject = fleet.get("/v1/results", job=job["id"])["items"][0]
    return row


def test_f1_and_mcc_are_those_of_the_classes_that_the_device_named(each_fleet: Fleet) -> None:
    row = measured_row(each_fleet, "mcc")
    assert (row["metric"], row["metric_host"], row["metric_reason"]) == ("mcc", 1.0, None)
    assert row["metric_device"] == pytest.approx(7 / 15)
    device = row["metrics_device"]
    assert device["f1_binary"] == pytest.approx(2 / 3)
    assert (device["top1"], device["top5"]) == (0.75, None)
    assert row["metrics_host"] == ON_HOST
    assert (row["accuracy_device"], row["accuracy_metric"]) == (0.75, "top1")
    assert row["host_agreement"]["n_disagree"] == 2
    front = each_fleet.get("/v1/front", job=each_fleet.get("/v1/jobs")["items"][0]["id"], y="metric")
    assert [point["y"] for point in front["points"]] == [row["metric_device"]]


def test_top5_needs_scores_which_devices_do_not_report(fleet: Fleet) -> None:
    row = measured_row(fleet, "top5")
    assert (row["metric_device"], row["metric_reason"]) == (None, "scores_not_reported")


def test_an_artifact_from_before_metrics_has_none(fleet: Fleet) -> None:
    row = measured_row(fleet, "f1_macro", with_labels=False)
    assert (row["metric_device"], row["metric_reason"]) == (None, "predictions_not_reported")
    assert row["metrics_device"] is None
    assert row["host_agreement"]["n"] == 8


@pytest.mark.parametrize(
    ("metric", "code"), [("bleu", "task_unsupported"), ("map", "task_unsupported"), ("auc", "metric_unknown")]
)
def test_a_job_with_a_metric_of_another_task_is_refused(fleet: Fleet, metric: str, code: str) -> None:
    fleet.add_device()
    fleet.add_model()
    answer = fleet.operator.post("/v1/jobs", json={"model": "net", "recipes": ["baseline"], "metric": metric})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert fleet.get("/v1/jobs")["items"] == []


@pytest.mark.parametrize("task", ["detection", "question_answering", "translation", "dreaming"])
def test_a_model_of_another_task_is_refused_with_the_reason(fleet: Fleet, task: str) -> None:
    body = {"name": "net", "blob_sha256": fleet.upload(b"model net"), "task": task}
    answer = fleet.operator.post("/v1/models", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "task_unsupported")
    assert task in answer.json()["detail"]
    assert answer.json()["supported"] == ["classification"]
    assert fleet.get("/v1/models")["items"] == []
