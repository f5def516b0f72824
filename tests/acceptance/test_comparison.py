"""A sweep, an A/B and an A/A comparison with a real controller, agent and command line."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Fleet


pytestmark = pytest.mark.slow


def test_a_sweep_and_comparisons_of_its_artifacts_run_on_the_fleet(
    fleet: "Fleet", own_model: tuple[Path, Path]
) -> None:
    controller = fleet.start_controller()
    token = fleet.json("device", "add", "this-host", "--json")["join_token"]
    agent = fleet.start_agent(token)
    file, data = own_model
    fleet.json("model", "add", str(file), "--name", "mine", "--data", str(data), "--json")
    job = fleet.json(
        *("job", "submit", "mine", "--recipe", "baseline", "--recipe", "int8", "--seconds", "0.2"),
        *("--threads", "1", "--batch", "1,8", "--provider", "cpu", "--json"),
    )
    watched = fleet.json("job", "watch", job["id"], "--json")
    assert watched["job"]["state"] == "completed"
    rows = watched["variants"]
    assert [(row["name"], row["settings"]) for row in rows] == [
        *((name, {"batch": batch}) for name in ("baseline", "int8") for batch in (1, 8)),
    ]
    assert all(row["latency_ms"]["throughput_per_s"] > 0 for row in rows)

    named = [f"{job['id']}/{name}" for name in ("baseline", "int8")]
    compared = fleet.json("compare", *named, "--device", "this-host", "--pairs", "12", "--json")
    [row] = compared["results"]
    assert (compared["state"], row["provenance"]) == ("completed", "measured")
    low, high = row["comparison"]["interval"]
    assert 0 < low <= high
    assert row["conditions"]["settings"]["n_pairs"] == 12

    itself = fleet.json("aa", rows[0]["artifact_sha256"], "--comparisons", "2", "--pairs", "12", "--json")
    assert itself["results"][0]["false_positives"]["n_comparisons"] == 2
    refused = fleet.cli("compare", "0" * 64, named[0])
    assert refused.returncode == 1
    assert "unknown_artifact" in refused.stderr
    fleet.stop(agent, controller)
    assert [process.cmdline() for process in fleet.processes()] == []
