"""A step's child process: results, errors, limits, and that nothing of it is left behind."""

import asyncio
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.engine.child_process import ChildLimits, StepFailed, run_child_step

WriteModule = Callable[[str], str]
JsonObject = dict[str, Any]


@pytest.fixture
def step_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Writes a module that a child can run by name."""

    def write(body: str) -> str:
        (tmp_path / "scripted_step.py").write_text(
            "import json, os, signal, subprocess, sys, time\n"
            "request = json.loads(sys.stdin.readline())\n"
            "def say(**event):\n    print(json.dumps(event), flush=True)\n" + textwrap.dedent(body)
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "scripted_step"

    return write


def run(
    module: str, request: JsonObject | None = None, limits: ChildLimits | None = None
) -> tuple[JsonObject, list[JsonObject]]:
    events: list[JsonObject] = []
    return asyncio.run(run_child_step(module, request or {}, on_event=events.append, limits=limits)), events


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_result_and_progress_come_back(step_module: WriteModule) -> None:
    module = step_module('say(event="progress", fraction=0.5); say(event="done", result={"echo": request["value"]})')
    result, events = run(module, {"value": 42})
    assert result == {"echo": 42}
    assert events == [{"event": "progress", "fraction": 0.5}]


def test_the_steps_own_error_reaches_the_caller(step_module: WriteModule) -> None:
    module = step_module(
        'say(event="failed", error={"code": "loss_is_nan", "message": "lower it", "detail": {"step": 7}}); sys.exit(3)'
    )
    with pytest.raises(StepFailed) as caught:
        run(module)
    assert caught.value.as_json() == {"code": "loss_is_nan", "message": "lower it", "detail": {"step": 7}}


def test_a_killed_child_is_reported_with_its_signal_and_last_words(step_module: WriteModule) -> None:
    module = step_module('print("out of luck", file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGKILL)')
    with pytest.raises(StepFailed) as caught:
        run(module)
    assert caught.value.code == "step_crashed"
    assert caught.value.detail["signal"] == "SIGKILL"
    assert "out of luck" in caught.value.detail["last_words"]


def test_an_exit_without_a_result_is_a_crash(step_module: WriteModule) -> None:
    with pytest.raises(StepFailed) as caught:
        run(step_module("sys.exit(5)"))
    assert (caught.value.code, caught.value.detail["returncode"]) == ("step_crashed", 5)


def test_noise_on_standard_output_is_a_protocol_error(step_module: WriteModule) -> None:
    with pytest.raises(StepFailed) as caught:
        run(step_module('print("hello"); time.sleep(60)'))
    assert caught.value.code == "step_protocol"


def test_a_hung_child_and_its_own_children_are_killed(step_module: WriteModule, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    module = step_module(
        f"""
        child = subprocess.Popen(["sleep", "600"])
        open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
        time.sleep(600)
        """
    )
    with pytest.raises(StepFailed) as caught:
        run(module, limits=ChildLimits(timeout_s=3))
    assert caught.value.code == "step_timed_out"
    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []


def test_cancelling_the_task_kills_the_group(step_module: WriteModule) -> None:
    module = step_module('say(event="progress", pid=os.getpid()); time.sleep(600)')

    async def scenario() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run_child_step(module, {}, on_event=lambda event: started.set_result(event["pid"])))
        pid = await started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert not is_alive(asyncio.run(scenario()))


def test_a_file_larger_than_the_limit_is_refused_by_the_kernel(step_module: WriteModule, tmp_path: Path) -> None:
    module = step_module(f'open({str(tmp_path / "big")!r}, "wb").write(b"x" * 100_000); say(event="done", result={{}})')
    with pytest.raises(StepFailed) as caught:
        run(module, limits=ChildLimits(file_size_bytes=1000))
    assert caught.value.code == "step_crashed"
    assert (tmp_path / "big").stat().st_size <= 1000
