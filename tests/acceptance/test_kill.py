"""kill -9 of the controller and of the agent in the middle of a job, and a cancel: nothing lost, nothing twice."""

import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Fleet


pytestmark = pytest.mark.slow


def submit(fleet: "Fleet", own_model: tuple[Path, Path], *arguments: str) -> str:
    file, data = own_model
    fleet.json("model", "add", str(file), "--name", "mine", "--data", str(data), "--json")
    return str(fleet.json("job", "submit", "mine", *arguments, "--json")["id"])


def enrol(fleet: "Fleet") -> subprocess.Popen[bytes]:
    return fleet.start_agent(fleet.json("device", "add", "this-host", "--json")["join_token"])


def stored(fleet: "Fleet", query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{fleet.home}/edgefleet.db?mode=ro", uri=True) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def assert_each_result_once(fleet: "Fleet", job_id: str, n_runs: int) -> None:
    assert fleet.json("job", "watch", job_id, "--json")["job"]["state"] == "completed"
    assert stored(fleet, "SELECT count(*), count(DISTINCT variant_id) FROM runs") == [(n_runs, n_runs)]
    assert stored(fleet, "SELECT count(*), count(DISTINCT run_id) FROM results") == [(n_runs, n_runs)]


def kill_hard(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("state", ["compressing", "dispatched"])
def test_a_killed_controller_resumes_the_job_with_every_result_once(
    fleet: "Fleet", own_model: tuple[Path, Path], state: str
) -> None:
    controller = fleet.start_controller()
    enrol(fleet)
    job_id = submit(fleet, own_model, "--recipe", "baseline", "--recipe", "int8", "--seconds", "2")
    query = f"SELECT 1 FROM variants WHERE state = '{state}'"
    fleet.wait_until(lambda: stored(fleet, query), state)
    kill_hard(controller)
    fleet.wait_until(lambda: len(fleet.processes()) <= 2, "end of the killed controller's worker and steps")
    fleet.start_controller()
    assert_each_result_once(fleet, job_id, 2)


def test_a_killed_agent_gets_its_run_again_after_the_lease(fleet: "Fleet", own_model: tuple[Path, Path]) -> None:
    fleet.start_controller()
    agent = enrol(fleet)
    job_id = submit(fleet, own_model, "--recipe", "baseline", "--seconds", "3")
    fleet.wait_until(lambda: stored(fleet, "SELECT 1 FROM runs WHERE state = 'leased'"), "lease")
    kill_hard(agent)
    fleet.wait_until(
        lambda: not any("edgefleet_agent" in " ".join(p.cmdline()) for p in fleet.processes()), "end of the runner"
    )
    fleet.start_agent()
    assert_each_result_once(fleet, job_id, 1)
    assert stored(fleet, "SELECT attempt FROM runs") == [(2,)]


def test_a_killed_runner_fails_its_run_with_a_code_and_the_agent_goes_on(
    fleet: "Fleet", own_model: tuple[Path, Path]
) -> None:
    fleet.start_controller()
    enrol(fleet)
    job_id = submit(fleet, own_model, "--recipe", "baseline", "--recipe", "int8", "--seconds", "3")

    def runner() -> psutil.Process | None:
        return next((p for p in fleet.processes() if "edgefleet_agent.runner" in p.cmdline()), None)

    fleet.wait_until(runner, "runner").kill()
    rows = fleet.json("job", "watch", job_id, "--json")["variants"]
    failed = [row for row in rows if row["variant_state"] == "failed"]
    assert [row["error"]["code"] for row in failed] == ["runner_killed"]
    assert [row["latency_ms"] for row in failed] == [None]
    assert sorted(row["variant_state"] for row in rows) == ["completed", "failed"]


def test_a_cancelled_job_ends_its_child_processes(fleet: "Fleet", own_model: tuple[Path, Path]) -> None:
    fleet.start_controller()
    enrol(fleet)
    job_id = submit(fleet, own_model, "--recipe", "baseline", "--recipe", "int8", "--seconds", "60")
    fleet.wait_until(lambda: stored(fleet, "SELECT 1 FROM runs WHERE state = 'leased'"), "lease")
    fleet.cli("job", "cancel", job_id)
    watched = fleet.cli("job", "watch", job_id, "--json")
    assert watched.returncode == 1
    assert stored(fleet, f"SELECT state FROM jobs WHERE id = '{job_id}'") == [("cancelled",)]
    names = ("edgefleet_agent.runner", "edgefleet_compression.step", "edgefleet_deploy.step")
    fleet.wait_until(lambda: not [p for p in fleet.processes() if set(names) & set(p.cmdline())], "end of the steps")
    assert set(stored(fleet, "SELECT DISTINCT state FROM runs")) == {("cancelled",)}
