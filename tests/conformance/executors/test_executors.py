"""Every executor of steps: results, events, errors, limits, and that nothing of a step is left behind.

Ray's part needs the extra ``ray`` and starts a cluster of one node on this host.
"""

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.engine.executors import StepExecutor, SubprocessExecutor

JsonObject = dict[str, Any]
WriteModule = Callable[[str], str]
DEADLINE_S = 60


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder from which children import; set before an executor's processes start, for they inherit it."""
    folder = tmp_path_factory.mktemp("steps")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), before)))
    yield folder
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module", params=["subprocess", "ray"])
def executor(request: pytest.FixtureRequest, modules: Path) -> Iterator[StepExecutor]:
    if request.param == "subprocess":
        yield SubprocessExecutor()
        return
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install 'edgefleet[ray]')")
    import ray

    from edgefleet_controller.engine.ray_executor import RayExecutor

    yield RayExecutor()
    ray.shutdown()


@pytest.fixture
def write(modules: Path) -> WriteModule:
    """Writes a step that a child runs by name."""
    counter = len(list(modules.glob("step_*.py")))

    def written(body: str) -> str:
        name = f"step_{counter}"
        (modules / f"{name}.py").write_text(
            "import json, os, signal, sys, threading, time\n"
            "request = json.loads(sys.stdin.readline())\n"
            "def say(**event):\n    print(json.dumps(event), flush=True)\n"
            "def end_with_parent():\n"
            "    while os.read(0, 4096): pass\n"
            "    os._exit(4)\n"
            "threading.Thread(target=end_with_parent, daemon=True).start()\n" + textwrap.dedent(body)
        )
        return name

    return written


def run(
    executor: StepExecutor, module: str, request: JsonObject | None = None, timeout_s: float = DEADLINE_S
) -> tuple[JsonObject, list[JsonObject]]:
    events: list[JsonObject] = []
    limits = ChildLimits(timeout_s=timeout_s)
    return asyncio.run(executor.run(module, request or {}, on_event=events.append, limits=limits)), events


def wait_for_end_of(pid: int) -> None:
    poll = subprocess.Popen(["sleep", str(DEADLINE_S)])
    try:
        while poll.poll() is None:
            if not is_alive(pid):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                poll.wait(0.05)
    finally:
        poll.kill()
        poll.wait()
    raise AssertionError(f"process {pid} still runs")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_result_and_events_come_back_in_order(executor: StepExecutor, write: WriteModule) -> None:
    module = write(
        'for n in range(20): say(event="progress", fraction=n / 20)\nsay(event="done", result={"echo": request["value"]})'
    )
    result, events = run(executor, module, {"value": 42})
    assert result == {"echo": 42}
    assert [event["fraction"] for event in events] == [n / 20 for n in range(20)]


def test_the_step_s_own_error_comes_back(executor: StepExecutor, write: WriteModule) -> None:
    error = {"code": "loss_is_nan", "message": "lower it", "detail": {"step": 7}}
    with pytest.raises(StepFailed) as caught:
        run(executor, write(f'say(event="failed", error={error!r}); sys.exit(3)'))
    assert caught.value.as_json() == error


def test_a_killed_child_is_a_crash_with_its_signal_and_last_words(executor: StepExecutor, write: WriteModule) -> None:
    module = write('print("out of luck", file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGKILL)')
    with pytest.raises(StepFailed) as caught:
        run(executor, module)
    assert (caught.value.code, caught.value.detail["signal"]) == ("step_crashed", "SIGKILL")
    assert "out of luck" in caught.value.detail["last_words"]


def test_noise_where_events_belong_is_a_protocol_error(executor: StepExecutor, write: WriteModule) -> None:
    with pytest.raises(StepFailed) as caught:
        run(executor, write('print("hello")'))
    assert caught.value.code == "step_protocol"


def test_a_step_that_takes_too_long_is_ended(executor: StepExecutor, write: WriteModule, tmp_path: Path) -> None:
    module = write('open(request["pid"], "w").write(str(os.getpid())); time.sleep(3600)')
    with pytest.raises(StepFailed) as caught:
        run(executor, module, {"pid": str(tmp_path / "pid")}, timeout_s=1)
    assert caught.value.code == "step_timed_out"
    if (tmp_path / "pid").exists():  # on a busy host it may not have come so far
        wait_for_end_of(int((tmp_path / "pid").read_text()))


def test_a_cancelled_step_is_ended(executor: StepExecutor, write: WriteModule) -> None:
    module = write('say(event="progress", pid=os.getpid()); time.sleep(3600)')

    async def cancel_at_first_event() -> int:
        began: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        step = asyncio.create_task(
            executor.run(module, {}, on_event=lambda event: began.set_result(event["pid"]), limits=ChildLimits())
        )
        pid = await began
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        return pid

    wait_for_end_of(asyncio.run(cancel_at_first_event()))
