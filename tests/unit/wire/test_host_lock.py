"""A host never computes and measures at once, and a stream of computing steps cannot starve a measurement."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgefleet_agent.wire.host_lock import HostLockTimeout, hold_for_compute, hold_for_measurement

HOLD = """
import sys
from pathlib import Path
from edgefleet_agent.wire import host_lock
with getattr(host_lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(kind: str, folder: Path) -> "subprocess.Popen[str]":
    """Another process that holds the host until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def release(process: "subprocess.Popen[str]") -> None:
    process.communicate("")


def test_two_computing_steps_share_the_host(tmp_path: Path) -> None:
    with hold_for_compute(tmp_path), hold_for_compute(tmp_path, timeout_s=0):
        assert (tmp_path / "room").exists()


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("hold_for_compute", hold_for_measurement),
        ("hold_for_measurement", hold_for_compute),
        ("hold_for_measurement", hold_for_measurement),
    ],
)
def test_a_measurement_is_alone(tmp_path: Path, held: str, wanted: object) -> None:
    process = holder(held, tmp_path)
    with pytest.raises(HostLockTimeout, match="busy"), wanted(tmp_path, timeout_s=0.2):  # type: ignore[operator]
        pass
    release(process)
    with wanted(tmp_path, timeout_s=5):  # type: ignore[operator]
        pass


def test_a_killed_holder_frees_the_host(tmp_path: Path) -> None:
    process = holder("hold_for_measurement", tmp_path)
    process.kill()
    process.communicate()
    with hold_for_measurement(tmp_path, timeout_s=5):
        assert process.returncode == -9


def test_a_waiting_measurement_comes_before_computing_steps_that_arrive_later(tmp_path: Path) -> None:
    computing = holder("hold_for_compute", tmp_path)
    waits = threading.Event()
    measured = threading.Event()

    def measure() -> None:
        with hold_for_measurement(tmp_path, timeout_s=20, on_wait=lambda _: waits.set()):
            measured.set()

    thread = threading.Thread(target=measure)
    thread.start()
    assert waits.wait(10)
    with pytest.raises(HostLockTimeout), hold_for_compute(tmp_path, timeout_s=0.2):
        pass
    assert not measured.is_set()
    release(computing)
    assert measured.wait(10)
    thread.join()


def test_waiting_can_be_given_up(tmp_path: Path) -> None:
    process = holder("hold_for_measurement", tmp_path)

    class GivenUp(Exception):
        pass

    def give_up(waited_s: float) -> None:
        raise GivenUp

    with pytest.raises(GivenUp), hold_for_compute(tmp_path, on_wait=give_up):
        pass
    release(process)
