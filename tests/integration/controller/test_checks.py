"""What shows that a run computed the right thing, and what a device could never run, from the compile step to the row."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.integration.controller.conftest import (
    Device,
    Fleet,
    JsonObject,
    device_facts,
    latency_blob,
    make_report,
    sha256_of,
)

from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.db.tables import Variant
from edgefleet_controller.engine.child_process import ChildLimits
from edgefleet_controller.engine.protocol import CPU_QUEUE, Task
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.workflows import compiling, dispatching, recipes
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.journal import Journal
from edgefleet_controller.workflows.steps import COMPILE_VARIANT, COMPRESS_VARIANT, DISPATCH_VARIANT, HostSteps
from edgefleet_controller.workflows.workbench import Workbench
from edgefleet_deploy.targets import TARGETS

ARTIFACT, GOLDEN = b"artifact bytes", b"golden bytes"
HOST_CLASSES = [0, 1, 2, 3, 0, 1, 2, 3]
ONNXRUNTIME = {"name": "onnxruntime", "version": "1", "interpreter": "python", "python_version": "3"}


def predictions_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, prediction=np.array(HOST_CLASSES))
    return buffer.getvalue()


class FakeSteps(HostCompute):
    """Leaves the files that the real steps would leave; counts the compilations."""

    def __init__(self, work_dir: Path, manifest: JsonObject) -> None:
        super().__init__(work_dir, limits=ChildLimits())
        self._manifest = manifest
        self.n_compiled = 0

    async def run(self, module: str, request: Any, *, report: Any) -> JsonObject:
        out = Path(request["output_dir"])
        if request["task"] == "compress":
            (out / "candidate.onnx").write_bytes(b"candidate")
            return {"candidate": "candidate.onnx", "cost_s": 1.0}
        self.n_compiled += 1
        for name, content in (("model.onnx", ARTIFACT), ("golden.npz", GOLDEN), ("predictions.npz", predictions_npz())):
            (out / name).write_bytes(content)
        accuracy = {"metric": "top1", "value": 1.0, "n": 8, "n_correct": 8}
        files = {"artifact": "model.onnx", "golden": "golden.npz", "predictions": "predictions.npz"}
        return {**files, "manifest": self._manifest, "accuracy_host": accuracy}


def manifest(**changes: Any) -> JsonObject:
    golden = {"sha256": sha256_of(GOLDEN), "size_bytes": len(GOLDEN), "n_samples": 8}
    document: JsonObject = {"file_name": "model.onnx", "size_bytes": len(ARTIFACT), "golden": golden, "operators": []}
    return document | changes


def with_facts(device: Device, **changes: Any) -> Device:
    facts = device_facts() | {"memory_bytes": 10**9, "runtimes": [ONNXRUNTIME]} | changes
    body = {"wait_s": 0, "facts_sha256": "f" * 64, "facts": facts}
    assert device.http.post("/agent/v1/claim", json=body, headers=device.headers).status_code == 204
    return device


def carry_out(fleet: Fleet, job: JsonObject, work_dir: Path, **changes: Any) -> FakeSteps:
    """Compress, compile and dispatch the job's first variant."""
    services = fleet.services
    compute = FakeSteps(work_dir, manifest(**changes))
    bench = Workbench(
        database=services.database,
        blobs=services.blobs,
        clock=services.clock,
        compute=compute,
        threads=1,
        journal=Journal(services.database),
    )
    tasks = HostSteps(bench).tasks()
    task = Task(COMPRESS_VARIANT, job["id"], CPU_QUEUE, 1, variant_id=job["variants"][0]["id"])
    for following in (COMPILE_VARIANT, DISPATCH_VARIANT):
        [task] = asyncio.run(tasks[task.name](task))
        assert task.name == following
    assert not asyncio.run(tasks[task.name](task))
    return compute


def variant_of(fleet: Fleet, job: JsonObject) -> Variant:
    with fleet.services.database.reading() as session:
        return session.get_one(Variant, job["variants"][0]["id"])


class TestGoldenOutputs:
    def test_the_order_names_them_and_only_the_device_that_holds_the_run_may_fetch_them(
        self, fleet: Fleet, tmp_path: Path
    ) -> None:
        device, other = with_facts(fleet.add_device()), fleet.add_device("other")
        carry_out(fleet, fleet.add_job(devices=[device.name]), tmp_path)

        order = device.order()

        assert order["golden"] == {"sha256": sha256_of(GOLDEN), "size_bytes": len(GOLDEN)}
        path = f"/agent/v1/blobs/{order['golden']['sha256']}"
        assert fleet.anonymous.get(path, headers=device.headers).content == GOLDEN
        assert fleet.anonymous.get(path, headers=other.headers).status_code == 404

    def test_a_cached_artifact_brings_them_along(self, fleet: Fleet, tmp_path: Path) -> None:
        device = with_facts(fleet.add_device())
        carry_out(fleet, fleet.add_job(), tmp_path)
        first = device.order()
        device.report(first, failed_report(first))
        again = carry_out(fleet, fleet.add_job(), tmp_path)
        assert again.n_compiled == 0
        assert device.order()["golden"] == first["golden"]

    def test_an_artifact_whose_golden_outputs_are_lost_is_compiled_again(self, fleet: Fleet, tmp_path: Path) -> None:
        with_facts(fleet.add_device())
        carry_out(fleet, fleet.add_job(), tmp_path)
        fleet.services.blobs.path(sha256_of(GOLDEN)).unlink()
        assert carry_out(fleet, fleet.add_job(), tmp_path).n_compiled == 1

    def test_a_failed_check_is_shown_in_the_row_and_with_the_run(self, fleet: Fleet, tmp_path: Path) -> None:
        device = with_facts(fleet.add_device())
        job = fleet.add_job()
        carry_out(fleet, job, tmp_path)
        order = device.order()
        output = {"name": "y", "snr_db": -3.0, "host_snr_db": 30.0, "required_snr_db": 24.0, "max_abs_error": 2.5}
        golden = {"passed": False, "n_samples": 8, "outputs": [output]}
        report = failed_report(order, code="wrong_output") | {"golden": golden}
        assert device.report(order, report).status_code == 200

        row = fleet.get("/v1/results", job=job["id"])["items"][0]

        assert row["verdict"] == {"status": "invalid", "reasons": ["wrong_output"]}
        assert row["latency_ms"] is None
        assert (row["golden"]["passed"], row["golden"]["snr_db"], row["golden"]["required_snr_db"]) == (
            False,
            -3.0,
            24.0,
        )
        assert fleet.run(order["run_id"])["golden"] == row["golden"]
        page = fleet.operator.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"}).text
        assert "golden outputs wrong, -3.0 dB" in page


def failed_report(order: JsonObject, code: str = "runner_crashed") -> JsonObject:
    nothing: JsonObject = dict.fromkeys(("latency_ms", "energy", "accuracy", "memory"))
    error = {"code": code, "message": "no"}
    return make_report(order["artifact"]["sha256"], samples={}, verdict={"status": "invalid"}, error=error, **nothing)


def report_classes(device: Device, order: JsonObject, samples: list[int], classes: list[int]) -> httpx.Response:
    blob = encode_samples({"sample": samples, "prediction": classes})
    for content in (latency_blob(), blob):
        device.upload(content)
    report = make_report(order["artifact"]["sha256"])
    report["samples"]["predictions"] = {"sha256": sha256_of(blob), "size_bytes": len(blob)}
    report["placement"] = {"shares": {"CPUExecutionProvider": 1.0}, "basis": "time", "accelerator_share": 0.0}
    return device.report(order, report)


class TestHostAgreement:
    def test_samples_that_differ_are_counted_and_named(self, fleet: Fleet, tmp_path: Path) -> None:
        """Six of eight were evaluated; the device names another class for the samples 5 and 7."""
        device = with_facts(fleet.add_device())
        job = fleet.add_job()
        carry_out(fleet, job, tmp_path)
        order = device.order()
        assert report_classes(device, order, [0, 1, 2, 3, 5, 7], [0, 1, 2, 3, 9, 9]).status_code == 200

        row = fleet.get("/v1/results", job=job["id"])["items"][0]

        assert row["host_agreement"] == {"share": pytest.approx(4 / 6), "n": 6, "n_disagree": 2, "samples": [5, 7]}
        assert row["placement"]["shares"] == {"CPUExecutionProvider": 1.0}
        assert fleet.run(order["run_id"])["host_agreement"] == row["host_agreement"]

    @pytest.mark.parametrize(("samples", "classes"), [([0, 8], [0, 0]), ([-1], [0]), ([], [])])
    def test_predictions_outside_the_evaluation_set_are_refused(
        self, fleet: Fleet, tmp_path: Path, samples: list[int], classes: list[int]
    ) -> None:
        device = with_facts(fleet.add_device())
        carry_out(fleet, fleet.add_job(), tmp_path)
        answer = report_classes(device, device.order(), samples, classes)
        assert (answer.status_code, answer.json()["code"]) == (422, "samples_invalid")


@pytest.fixture
def jetson_target(monkeypatch: pytest.MonkeyPatch) -> str:
    """A target for one kind of board, as compilers for accelerators have them."""
    target = replace(TARGETS["onnxruntime"], name="jetson-only", boards=("jetson-nano",))
    monkeypatch.setattr(jobs, "TARGETS", {**TARGETS, target.name: target})
    for module in (compiling, dispatching, recipes):
        monkeypatch.setattr(module, "get_target", {**TARGETS, target.name: target}.__getitem__)
    return target.name


class TestUnsuitableDevices:
    def test_a_job_whose_target_runs_on_none_of_its_devices_is_refused(self, fleet: Fleet, jetson_target: str) -> None:
        fleet.add_device()
        body = {"model": fleet.add_model()["id"], "recipes": ["baseline"], "targets": [jetson_target]}
        answer = fleet.operator.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "board_mismatch")
        assert answer.json()["boards"] == ["jetson-nano"]

    def test_where_it_runs_on_some_the_other_runs_fail_before_any_time_is_spent(
        self, fleet: Fleet, tmp_path: Path, jetson_target: str
    ) -> None:
        host, jetson = with_facts(fleet.add_device()), fleet.add_device("nano")
        with_facts(jetson, labels={"accelerator": "jetson-nano"})
        job = fleet.add_job(targets=[jetson_target])
        carry_out(fleet, job, tmp_path)
        rows = {row["device_id"]: row for row in fleet.get("/v1/results", job=job["id"])["items"]}
        assert rows[host.device_id]["verdict"] == {"status": "invalid", "reasons": ["board_mismatch"]}
        assert host.claim().status_code == 204
        assert jetson.order()["artifact"]["sha256"] == sha256_of(ARTIFACT)
        assert variant_of(fleet, job).state == "dispatched"

    def test_a_device_without_the_runtime_fails_its_run_at_once(self, fleet: Fleet, tmp_path: Path) -> None:
        litert = ONNXRUNTIME | {"name": "litert"}
        device = with_facts(fleet.add_device(), runtimes=[litert])
        job = fleet.add_job()
        carry_out(fleet, job, tmp_path)
        assert device.claim().status_code == 204
        variant = variant_of(fleet, job)
        assert variant.error is not None
        assert (variant.state, variant.error["code"]) == ("failed", "runtime_unavailable")
        assert "its agent found litert" in variant.error["message"]

    def test_a_model_larger_than_the_boards_memory_fails_its_run_at_once(self, fleet: Fleet, tmp_path: Path) -> None:
        """14 bytes of file and 1000 float32 elements on a board of 4000 bytes."""
        with_facts(fleet.add_device(), memory_bytes=4000)
        job = fleet.add_job()
        carry_out(fleet, job, tmp_path, operators=[{"activation_elements": 1000}, {"activation_elements": 10}])
        error = variant_of(fleet, job).error
        assert error is not None
        assert error["code"] == "model_too_large"
        assert error["detail"] == {"needed_bytes": 4014, "memory_bytes": 4000}

    def test_one_that_just_fits_is_queued(self, fleet: Fleet, tmp_path: Path) -> None:
        device = with_facts(fleet.add_device(), memory_bytes=4014)
        carry_out(fleet, fleet.add_job(), tmp_path, operators=[{"activation_elements": 1000}])
        assert device.claim().status_code == 200
