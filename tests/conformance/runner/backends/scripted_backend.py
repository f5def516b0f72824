"""A runtime that does what the artifact says: a JSON list of [moment, fault] pairs; without any it works.

Moments: import (environment), load, first, later. It runs inside the runner child under any Python from 3.6 on.
"""

import ctypes
import json
import os
import signal
import sys
import time

import numpy as np
from edgefleet_agent.runner.backend import Model, TensorFacts
from edgefleet_agent.runner.failure import RunnerFailure

N_CLASSES = 3


def open_model(request):
    with open(request.artifact) as handle:
        script = dict(json.load(handle))
    commit(script.get("load"))
    state = {"calls": 0}

    def invoke(array):
        state["calls"] += 1
        commit(script.get("first") if state["calls"] == 1 else script.get("later"))
        scores = array.reshape(array.shape[0], -1)[:, :N_CLASSES] * 1.0
        return scores * np.nan if script.get("output") == "nan" else scores

    return Model(
        inputs=[TensorFacts("x", [None, 4], "float32")],
        outputs=[TensorFacts("y", [None, N_CLASSES], "float32")],
        facts={"version": "scripted", "providers": []},
        prepare=lambda arrays: np.asarray(arrays["x"], dtype=np.float32),
        invoke=invoke,
        read_outputs=lambda result: [result],
    )


def commit(fault):
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
        os.write(3 if _is_pipe(3) else 1, b"I am no event\n")
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


def _is_pipe(descriptor):
    try:
        return os.readlink("/proc/self/fd/{}".format(descriptor)).startswith("pipe:")
    except OSError:
        return False


def _write_to_every_pipe(content):
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 3 and _is_pipe(int(name)):
            os.write(int(name), content)
