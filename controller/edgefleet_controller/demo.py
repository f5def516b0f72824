"""``edgefleet demo``: the whole path on this machine, with real processes and real measurements.

Starts a controller and an agent on loopback, trains a small residual network on scikit-learn's digits, submits one
job with six recipes over the REST API, for onnxruntime and, with the extra ``tflite``, for LiteRT, follows it, prints what came out and stops everything again.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from edgefleet_controller.cli.progress import JobProgress
from edgefleet_controller.cli.result_table import print_results
from edgefleet_controller.client import Client, ClientError
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed, run_child_step
from edgefleet_controller.local_fleet import LocalFleetError, local_agent, local_controller
from edgefleet_deploy.litert_tools import missing_tools

JsonObject = dict[str, Any]

RECIPES = ("baseline", "int8", "prune50", "prune50-int8", "distill-int8", "joint")
TARGETS = ("onnxruntime", "litert")
DATA_SET = "digits"
MODEL_NAME = "digits-resnet"
DEVICE_NAME = "this-host"
SEED = 0
LEAST_BASELINE_ACCURACY = 0.97
MEASURE_SECONDS = 4.0
SCHEMA_VERSION = 1

BASELINE_REQUEST: JsonObject = {
    "task": "train_model",
    "architecture": "resnet",
    "arguments": {},
    "data": {"kind": "packaged", "name": DATA_SET},
    "seed": SEED,
    "epochs": 12,
}

console = Console(stderr=True, highlight=False, soft_wrap=True)


class DemoError(Exception):
    """The demo could not go on; ``code`` is stable and the message names the log to read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def run_demo(data_dir: Path, *, json_file: Path | None, keep: bool) -> None:
    """Run the demo in ``data_dir`` (made if missing); raises DemoError with what to do."""
    started = time.monotonic()
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_terminable())
        stack.enter_context(_coded())
        client = stack.enter_context(local_controller(data_dir))
        console.print(f"Controller at {client.url} (SQLite in {data_dir})", markup=False)
        stack.enter_context(local_agent(client, data_dir, DEVICE_NAME))
        console.print(f"Agent enrolled as {DEVICE_NAME} (linux-host)")
        try:
            baseline = _baseline(data_dir)
            model = _model(client, data_dir / "baseline" / baseline["candidate"])
            job = _run_job(client, model["id"])
            rows = client.results(job["id"])
        except ClientError as err:
            raise DemoError(err.code, f"{err.message}; logs are in {data_dir}") from err
        document = _document(job, rows, baseline, wall_s=time.monotonic() - started)
        _report(client, document)
        if json_file is not None:
            json_file.write_text(json.dumps(document, indent=2) + "\n")
        if keep:
            _wait_for_interrupt(client)
    if job["state"] != "completed":
        raise DemoError("demo_job_failed", f"the job ended as {job['state']}; logs are in {data_dir}")


@contextmanager
def _coded() -> Iterator[None]:
    try:
        yield
    except LocalFleetError as err:
        raise DemoError(f"demo_{err.code}", err.message) from err


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that what was started is stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _baseline(data_dir: Path) -> JsonObject:
    """Train the network, or take the one an earlier demo trained from the same request."""
    folder = data_dir / "baseline"
    record = folder / "baseline.json"
    with contextlib.suppress(OSError, ValueError):
        remembered = json.loads(record.read_text())
        if remembered["request"] == BASELINE_REQUEST and (folder / remembered["result"]["candidate"]).exists():
            result: JsonObject = remembered["result"]
            console.print(f"Reusing the trained network: {_accuracy(result)}")
            return result
    folder.mkdir(parents=True, exist_ok=True)
    console.print("Training a residual network on scikit-learn's digits ...")
    request = BASELINE_REQUEST | {"output_dir": str(folder), "threads": os.cpu_count() or 1}
    try:
        result = asyncio.run(
            run_child_step(
                "edgefleet_compression.step", request, on_event=lambda _: None, limits=ChildLimits(timeout_s=600)
            )
        )
    except StepFailed as err:
        raise DemoError(err.code, f"training failed: {err.message}") from err
    console.print(f"Trained: {_accuracy(result)}")
    if result["accuracy_test"] < LEAST_BASELINE_ACCURACY:
        raise DemoError(
            "baseline_too_weak", f"the network reaches only {result['accuracy_test']:.2%} on the test split"
        )
    record.write_text(json.dumps({"request": BASELINE_REQUEST, "result": result}))
    return result


def _accuracy(result: JsonObject) -> str:
    return f"{result['n_parameters']:,} parameters, test accuracy {result['accuracy_test']:.2%}"


def _model(client: Client, candidate: Path) -> JsonObject:
    digest = client.upload(candidate)
    for model in client.models():
        if model["name"] == MODEL_NAME and model["blob_sha256"] == digest:
            return model
    return client.add_model(candidate, name=MODEL_NAME, data=DATA_SET)


def available_targets() -> tuple[str, ...]:
    """The demo's targets whose compiler is installed here."""
    return TARGETS[:1] if missing_tools() else TARGETS


def _run_job(client: Client, model_id: str) -> JsonObject:
    targets = available_targets()
    job = client.submit_job(
        model_id,
        recipes=RECIPES,
        targets=targets,
        devices=[DEVICE_NAME],
        settings={"seconds": MEASURE_SECONDS},
        name="demo",
        seed=SEED,
    )
    console.print(f"Submitted {job['id']}: {', '.join(RECIPES)} for {' and '.join(targets)}", markup=False)
    if len(targets) < len(TARGETS):
        console.print("LiteRT is left out: it needs the extra tflite (make setup EXTRAS=tflite)")
    with JobProgress() as progress:
        return client.wait_for_job(job["id"], progress.update)


def _document(job: JsonObject, rows: list[JsonObject], baseline: JsonObject, *, wall_s: float) -> JsonObject:
    """The machine-readable result; docs/demo-json.md describes it."""
    return {
        "version": SCHEMA_VERSION,
        "job": {key: job[key] for key in ("id", "state", "created_at", "finished_at")},
        "device": DEVICE_NAME,
        "targets": list(dict.fromkeys(row["target"] for row in rows)),
        "data_set": DATA_SET,
        "baseline": {key: baseline[key] for key in ("accuracy_test", "accuracy_validation", "n_parameters")},
        "n_cached_compressions": sum(bool(row.get("compression_cached")) for row in rows),
        "wall_s": round(wall_s, 1),
        "variants": rows,
    }


def _report(client: Client, document: JsonObject) -> None:
    rows: list[JsonObject] = document["variants"]
    print_results(rows, title="Measured on this host")
    front = [row for row in rows if row["on_front"]]
    console.print("\nPareto front (accuracy on the device against p50 latency):")
    for row in sorted(front, key=lambda row: row["latency_ms"]["p50"]):
        console.print(
            f"  {row['name']}: {row['latency_ms']['p50']:.4g} ms, {row['accuracy_device']:.2%}, {row['size_bytes']:,} bytes"
        )
    n_cached = document["n_cached_compressions"]
    if n_cached:
        console.print(f"\nReused {n_cached} of {len(rows)} cached compressions; every figure was measured anew.")
    console.print(f"Page: {client.url}/jobs/{document['job']['id']} (while it serves; --keep leaves it running)")


def _wait_for_interrupt(client: Client) -> None:
    token = client.url + "/login"
    console.print(
        f"Controller and agent keep running; sign in at {token} with the operator token. Ctrl-C stops them.",
        markup=False,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
