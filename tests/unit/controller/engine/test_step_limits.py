"""A step that takes more than it may is ended, and says of what; steps of every kind have every limit."""

import asyncio
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from edgefleet_controller.engine.child_process import ChildLimits, StepFailed, run_child_step
from edgefleet_controller.engine.memory_watch import default_limit_bytes, used_bytes
from edgefleet_controller.engine.step_limits import step_limits
from edgefleet_controller.models.inspection import ChildInspector
from edgefleet_controller.settings import MIB, Settings

WriteModule = Callable[[str], str]
HEAD = """
import json, os, subprocess, sys, time
sys.stdin.readline()
def done():
    print(json.dumps({"event": "done", "result": {}}), flush=True)
"""


@pytest.fixture
def step_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    def write(body: str) -> str:
        (tmp_path / "greedy_step.py").write_text(HEAD + textwrap.dedent(body))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "greedy_step"

    return write


def run(module: str, limits: ChildLimits) -> None:
    asyncio.run(run_child_step(module, {}, on_event=lambda _: None, limits=limits))


def failure(module: str, limits: ChildLimits) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        run(module, limits)
    return caught.value


def test_a_step_that_takes_too_much_memory_is_ended_and_told_what_to_change(step_module: WriteModule) -> None:
    module = step_module("held = b'x' * (200 << 20); time.sleep(600)")
    error = failure(module, ChildLimits(resident_bytes=100 * MIB))
    assert error.code == "step_out_of_memory"
    assert error.detail["limit_bytes"] == 100 * MIB
    assert error.detail["used_bytes"] > 100 * MIB
    assert "EDGEFLEET_STEP_MEMORY_BYTES" in error.message


def test_its_children_count_too(step_module: WriteModule) -> None:
    module = step_module(
        """
        hold = "held = b'x' * (60 << 20); import time; time.sleep(600)"
        children = [subprocess.Popen([sys.executable, "-c", hold]) for _ in range(3)]
        time.sleep(600)
        """
    )
    assert failure(module, ChildLimits(resident_bytes=150 * MIB)).code == "step_out_of_memory"


def test_memory_that_forked_children_share_counts_once_and_mapped_files_do_not(
    step_module: WriteModule, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(b"w" * (100 << 20))
    module = step_module(
        f"""
        import mmap
        mapped = mmap.mmap(os.open({str(tmp_path / "weights")!r}, os.O_RDONLY), 0, prot=mmap.PROT_READ)
        assert sum(mapped[:: mmap.PAGESIZE])
        held = b'x' * (60 << 20)
        for _ in range(3):
            if os.fork() == 0:
                assert held.count(b"x") == len(held)
                time.sleep(600)
        time.sleep(1)
        done()
        """
    )
    run(module, ChildLimits(resident_bytes=150 * MIB))


def test_memory_that_a_process_only_reserves_does_not_count(step_module: WriteModule) -> None:
    run(step_module("import mmap; reserved = mmap.mmap(-1, 8 << 30); done()"), ChildLimits(resident_bytes=100 * MIB))


def test_cpu_time_has_an_end_of_its_own(step_module: WriteModule) -> None:
    error = failure(step_module("while True: pass"), ChildLimits(cpu_s=1))
    assert (error.code, error.detail["signal"]) == ("step_cpu_time_exceeded", "SIGXCPU")


@pytest.mark.parametrize("module", ["edgefleet_compression.step", "edgefleet_deploy.step"])
def test_the_real_steps_are_held_to_it(module: str) -> None:
    # one byte: the first look is enough, for the step refuses an empty request before the second
    assert failure(module, ChildLimits(resident_bytes=1)).code == "step_out_of_memory"


def test_steps_of_every_kind_have_every_limit(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, step_threads=4, step_timeout_s=10.0)
    steps, parsing = step_limits(settings), ChildInspector.from_settings(settings).limits
    assert (steps.timeout_s, steps.cpu_s, steps.resident_bytes) == (10.0, 40, default_limit_bytes())
    assert step_limits(settings.model_copy(update={"step_memory_bytes": 5 * MIB})).resident_bytes == 5 * MIB
    for limits in (steps, parsing):
        assert (limits.resident_bytes or limits.address_space_bytes or 0) > 0
        assert None not in (limits.cpu_s, limits.file_size_bytes)
        assert limits.network is False


def test_a_session_that_has_ended_uses_nothing() -> None:
    assert used_bytes(session_id=2**22) == 0
