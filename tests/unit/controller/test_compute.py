"""Steps on this host: scratch folders that leave nothing, the host lock, results that name real files."""

import asyncio
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from edgefleet_agent.wire.host_lock import hold_for_measurement
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.workflows.compute import HostCompute, named_link, result_file


def compute(tmp_path: Path) -> HostCompute:
    return HostCompute(tmp_path / "work", limits=ChildLimits(timeout_s=60), lock_dir=tmp_path / "lock")


def test_scratch_is_empty_and_is_removed_even_after_an_error(tmp_path: Path) -> None:
    leftover = tmp_path / "work" / "step" / "out" / "half-written"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("of a killed attempt")

    async def scenario() -> None:
        async with compute(tmp_path).scratch("step") as folder:
            assert list(folder.rglob("*")) == [folder / "out"]
            (folder / "out" / "new").write_text("x")
            raise StepFailed("loss_is_nan", "lower it")

    with pytest.raises(StepFailed):
        asyncio.run(scenario())
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("end", "is_kept"),
    [
        (None, False),
        (StepFailed("nan_loss", "lower it"), False),
        (StepFailed("step_crashed", "killed"), True),
        (asyncio.CancelledError(), True),
    ],
)
def test_checkpoints_stay_for_a_killed_step_alone(tmp_path: Path, end: BaseException | None, is_kept: bool) -> None:
    async def scenario() -> None:
        async with compute(tmp_path).kept("key") as folder:
            assert folder is not None
            folder.mkdir()
            if end is not None:
                raise end

    with nullcontext() if end is None else pytest.raises(type(end)):
        asyncio.run(scenario())
    assert (tmp_path / "work" / "checkpoints" / "key").is_dir() == is_kept


def test_two_steps_of_the_same_work_do_not_share_checkpoints(tmp_path: Path) -> None:
    async def scenario() -> tuple[Path | None, Path | None]:
        async with compute(tmp_path).kept("key") as first, compute(tmp_path).kept("key") as second:
            return first, second

    assert asyncio.run(scenario()) == (tmp_path / "work" / "checkpoints" / "key", None)


def test_checkpoints_nobody_came_back_for_are_removed(tmp_path: Path) -> None:
    base = tmp_path / "work" / "checkpoints"
    for name in ("old", "young"):
        (base / name).mkdir(parents=True)
    os.utime(base / "old", (0, 0))

    async def scenario() -> None:
        async with compute(tmp_path).kept("key"):
            pass

    asyncio.run(scenario())
    assert [path.name for path in base.iterdir() if path.is_dir()] == ["young"]


def test_a_step_that_waits_for_a_measurement_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        messages: list[str] = []
        waits = asyncio.Event()
        loop = asyncio.get_running_loop()

        def report(message: str, _: object) -> None:
            messages.append(message)
            loop.call_soon_threadsafe(waits.set)

        task = asyncio.create_task(compute(tmp_path).run("no.such.module", {}, report=report))
        await asyncio.wait_for(waits.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return messages

    with hold_for_measurement(tmp_path / "lock"):
        assert asyncio.run(scenario()) == ["waits for a measurement on this host to end"]
    with hold_for_measurement(tmp_path / "lock", timeout_s=5):
        pass


@pytest.mark.parametrize("name", ["", "../secret", "missing.onnx", "link.onnx"])
def test_a_result_must_name_a_file_of_its_own_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "out" / "link.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(StepFailed) as caught:
        result_file(tmp_path, {"artifact": name}, "artifact")
    assert caught.value.code == "step_protocol"


def test_a_named_link_gives_a_blob_its_extension(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("weights")
    assert named_link(tmp_path, "model.onnx", tmp_path / "abc").read_text() == "weights"
