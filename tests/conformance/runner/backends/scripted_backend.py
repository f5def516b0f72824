"""A runtime that does what the artifact says: a JSON object of moment -> fault; without any it works.

Moments: load, first (inference), later. It runs inside the runner child under any Python from 3.6 on.
"""

# ruff: noqa: PTH115, PTH123, PTH208, T201
import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

import numpy as np

from edgefleet_agent.runner.backend import LoadRequest, Model, TensorFacts
from edgefleet_agent.runner.failure import RunnerFailure

N_CLASSES = 3


def open_model(request: LoadRequest) -> Model:
    with open(request.artifact) as handle:
        script = dict(json.load(handle))
    commit(script.get("load"))
    state: dict[str, int] = {"calls": 0}

    def invoke(array: Any) -> Any:
        state["calls"] += 1
        commit(script.get("first") if state["calls"] == 1 else script.get("later"))
        scores = array.reshape(array.shape[0], -1)[:, :N_CLASSES] * 1.0
        return scores * np.nan if script.get("output") == "nan" else scores

    return Model(
        inputs=[TensorFacts("x", [None, 4], "float32")],
        outputs=[TensorFacts("y", [None, N_CLASSES], "float32")],
        facts=describe(script),
        prepare=lambda arrays: np.asarray(arrays["x"], dtype=np.float32),
        invoke=invoke,
        read_outputs=lambda result: [result],
    )


def describe(script: "dict[str, str]") -> "dict[str, Any]":
    facts: dict[str, Any] = {"version": "scripted", "providers": []}
    if script.get("placement") == "edgetpu":
        shares, counts = {"edgetpu": 0.75, "cpu": 0.25}, {"edgetpu": 30, "cpu": 2}
        facts["placement"] = {"shares": shares, "n_operators": counts, "basis": "macs"}
    return facts


def commit(fault: "str | None") -> None:
    if fault is None:
        return
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "hang_with_lock":
        ctypes.PyDLL(None).sleep(3600)  # a C function that keeps the interpreter lock
    elif fault == "garbage":
        _write_to_every_pipe(b"I am no event\n")
    elif fault == "print":
        os.write(1, b"a vendor library prints to descriptor 1\n")
        print("and to stdout")
    elif fault == "memory":
        raise MemoryError("scripted")
    elif fault == "exception":
        raise ValueError("scripted failure")
    elif fault == "exit":
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(7)
    elif fault == "exit_0":
        os._exit(0)
    elif fault == "unreadable":
        raise RunnerFailure("artifact_unreadable", "scripted: not a model")
    elif fault == "slow":
        time.sleep(0.05)


def _is_pipe(descriptor: int) -> bool:
    try:
        return os.readlink("/proc/self/fd/{}".format(descriptor)).startswith("pipe:")
    except OSError:
        return False


def _write_to_every_pipe(content: bytes) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and _is_pipe(int(name)):
            os.write(int(name), content)
