"""A compress and compile step without torch: it says that it began, waits until its gate is open, and leaves small files.

Speaks the protocol of ``edgefleet_compression.child``. ``EDGEFLEET_TEST_STEPS`` is a folder: every execution appends a
line to ``executions``, and a task goes on once a file of its name lies there. ``crash`` in it makes the next one crash.
"""

import hashlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["EDGEFLEET_TEST_STEPS"])
POLL_S = 0.05


def main() -> int:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    task = request["task"]
    with (FOLDER / "executions").open("a") as log:
        log.write(
            json.dumps({"task": task, "pid": os.getpid(), "recipe": (request.get("recipe") or {}).get("name")}) + "\n"
        )
    if (FOLDER / "crash").exists():
        (FOLDER / "crash").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    tick = threading.Event()
    while not (FOLDER / task).exists():
        tick.wait(POLL_S)
    send({"event": "progress", "fraction": 1.0, "message": "done", "detail": {}})
    send({"event": "done", "result": RESULTS[task](request, Path(request["output_dir"]))})
    return 0


def end_with_parent() -> None:
    while os.read(0, 4096):
        continue
    os._exit(4)


def send(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def prepare_data(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {"evaluation": None, "n_evaluation": 0, "data_sha256": None, "has_labels": False}


def compress(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "candidate.onnx").write_text(f"candidate {request['recipe']['name']}")
    return {"candidate": "candidate.onnx", "cost_s": 0.1, "stats": {}, "notes": []}


def compile_candidate(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    content = b"artifact of " + Path(request["candidate"]).read_bytes()
    (folder / "model.onnx").write_bytes(content)
    manifest = {"file_name": "model.onnx", "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    accuracy = {"metric": "top1", "value": 0.9}
    return {"artifact": "model.onnx", "manifest": manifest, "accuracy_host": accuracy}


RESULTS = {"prepare_data": prepare_data, "compress": compress, "compile": compile_candidate}

if __name__ == "__main__":
    sys.exit(main())
