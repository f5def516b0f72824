"""Three architectures x runtimes x precisions through the controller's API on this host: ``make bench-targets``.

Each network is trained here for some seconds to minutes (digits, synthetic keywords), registered, and measured by one job.
Writes bench/targets.json and prints the table: bytes, signal-to-noise ratio against the float network, p50 with its
verdict, accuracy on the device. Wrong combinations show up as the refusals they get.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from edgefleet_controller.client import Client
from edgefleet_controller.engine.child_process import ChildLimits, run_child_step
from edgefleet_controller.local_fleet import local_agent, local_controller

JsonObject = dict[str, Any]

DEVICE = "this-host"
TARGETS = ("onnxruntime", "litert", "tflite-runtime")
RECIPES = ("baseline", "int8", "int8-dynamic")

NETWORKS: dict[str, JsonObject] = {
    "residual-cnn": {"architecture": "resnet", "arguments": {}, "data": "digits", "epochs": 8},
    "mobilenet-v2": {
        "architecture": "mobilenet_v2",
        "arguments": {"form": "cifar", "width_multiplier": 0.35, "blocks": [1, 1, 2, 2, 1, 1, 1]},
        "data": "digits",
        "epochs": 8,
    },
    "transformer": {"architecture": "transformer", "arguments": {}, "data": "keywords", "epochs": 12},
}
DATA: dict[str, JsonObject] = {
    "digits": {"kind": "packaged", "name": "digits"},
    "keywords": {"kind": "generated", "name": "keywords"},
}


def main() -> int:
    """Run the bench; the exit status is 0 when every wanted combination was measured or refused with a code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--seconds", type=float, default=3.0, help="least length of each timed part")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    arguments = parser.parse_args()
    home = arguments.out / "targets-home"
    home.mkdir(parents=True, exist_ok=True)
    pinned = os.environ.get("EDGEFLEET_TFLITE_PYTHON")
    environment = {"EDGEFLEET_AGENT_INTERPRETERS": json.dumps({"tflite-runtime": pinned})} if pinned else {}
    rows: list[JsonObject] = []
    with local_controller(home) as client, local_agent(client, home, DEVICE, environment=environment):
        for name in arguments.networks.split(","):
            rows += measure(client, home, name, NETWORKS[name], seconds=arguments.seconds)
            show_table(rows)
    (arguments.out / "targets.json").write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    return 0 if all(row["p50_ms"] is not None or row["error"] for row in rows) else 1


def measure(client: Client, home: Path, name: str, network: JsonObject, *, seconds: float) -> list[JsonObject]:
    """Train, register and measure one network; return its rows."""
    candidate, accuracy = train(home / name, network)
    digest = client.upload(candidate)
    known = [model for model in client.models() if model["name"] == name and model["blob_sha256"] == digest]
    model = known[0] if known else client.add_model(candidate, name=name, data=network["data"])
    settings = {"seconds": seconds, "warmup_seconds": 0.5}
    rows: list[JsonObject] = []
    for target in TARGETS:  # one job for each, so that a target that refuses a recipe at once leaves the others
        job = client.submit_job(
            model["id"], recipes=RECIPES, targets=[target], devices=[DEVICE], settings=settings, name=f"{name}-{target}"
        )
        client.wait_for_job(job["id"], lambda *_: None)
        rows += [as_row(name, accuracy, row) for row in client.results(job["id"])]
    return rows


def train(folder: Path, network: JsonObject) -> tuple[Path, float]:
    """Return the trained candidate's file and its test accuracy; a finished training is reused."""
    folder.mkdir(exist_ok=True)
    record = folder / "trained.json"
    request = {
        "task": "train_model",
        "architecture": network["architecture"],
        "arguments": network["arguments"],
        "data": DATA[network["data"]],
        "seed": 0,
        "epochs": network["epochs"],
    }
    if record.exists() and json.loads(record.read_text())["request"] == request:
        result = json.loads(record.read_text())["result"]
    else:
        result = asyncio.run(
            run_child_step(
                "edgefleet_compression.step",
                request | {"output_dir": str(folder), "threads": os.cpu_count() or 1},
                on_event=lambda _: None,
                limits=ChildLimits(timeout_s=1200),
            )
        )
        record.write_text(json.dumps({"request": request, "result": result}))
    return folder / result["candidate"], float(result["accuracy_test"])


def as_row(network: str, accuracy: float, row: JsonObject) -> JsonObject:
    """Return the figures that the table shows."""
    latency, golden = row.get("latency_ms") or {}, row.get("golden") or {}
    return {
        "network": network,
        "target": row["target"],
        "recipe": row["recipe"],
        "size_bytes": row.get("size_bytes"),
        "snr_db": golden.get("snr_db"),
        "host_snr_db": golden.get("host_snr_db"),
        "p50_ms": latency.get("p50"),
        "p50_interval_ms": (latency.get("intervals") or {}).get("p50"),
        "accuracy_device": row.get("accuracy_device"),
        "accuracy_torch": accuracy,
        "verdict": row.get("verdict"),
        "error": row.get("error"),
    }


def show_table(rows: list[JsonObject]) -> None:
    """Write Markdown to standard output."""
    lines = [
        "| network | target | recipe | bytes | SNR dB | p50 ms | accuracy | verdict or refusal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = (row["verdict"] or {}).get("status", "")
        cells = [
            row["network"],
            row["target"],
            str(row["recipe"]),
            "-" if row["size_bytes"] is None else f"{row['size_bytes']:,}",
            "-" if row["snr_db"] is None else f"{row['snr_db']:.1f}",
            "-" if row["p50_ms"] is None else f"{row['p50_ms']:.4f}",
            "-" if row["accuracy_device"] is None else f"{row['accuracy_device']:.2%}",
            (row["error"] or {}).get("code", verdict),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
