"""A person's own ONNX file, by the commands of the README."""

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Fleet


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(empty_fleet_of_module: "Fleet") -> "Fleet":
    """One controller and one agent for all tests of this file; every test brings a model of its own name."""
    empty_fleet_of_module.start_controller()
    token = empty_fleet_of_module.json("device", "add", "this-host", "--json")["join_token"]
    empty_fleet_of_module.start_agent(token)
    return empty_fleet_of_module


def test_own_onnx_file_is_measured_in_fp32_and_int8(fleet: "Fleet", own_model: tuple[Path, Path]) -> None:
    file, data = own_model
    fleet.json("model", "add", str(file), "--name", "mine", "--data", str(data), "--json")
    job = fleet.json("job", "submit", "mine", "--seconds", "0.5", "--json")
    watched = fleet.json("job", "watch", job["id"], "--json")
    assert watched["job"]["state"] == "completed"
    rows = {row["name"]: row for row in watched["variants"]}
    assert set(rows) == {"baseline", "int8"}
    assert rows["baseline"]["accuracy_device"] > 0.9
    assert rows["int8"]["retention"] > 0.97
    assert rows["int8"]["size_bytes"] < rows["baseline"]["size_bytes"] / 2.5
    for row in rows.values():
        assert row["latency_ms"]["n"] >= 700
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p90"]
        assert row["energy"] == {"value_mj": None, "reason": "no_sensor"} | row["energy"]
        assert row["provenance"] == "measured"
        assert row["accuracy_device"] == row["accuracy_host"]


def test_own_onnx_file_is_pruned_trained_and_quantized(fleet: "Fleet", own_model: tuple[Path, Path]) -> None:
    file, data = own_model
    fleet.json("model", "add", str(file), "--name", "trained", "--data", str(data), "--json")
    job = fleet.json(
        "job", "submit", "trained", "--recipe", "baseline", "--recipe", "prune50-int8", "--seconds", "0.3", "--json"
    )
    watched = fleet.json("job", "watch", job["id"], "--json")
    rows = {row["name"]: row for row in watched["variants"]}
    pruned = rows["prune50-int8"]
    assert pruned["variant_state"] == "completed"
    assert "converted_from_onnx" in pruned["notes"]
    assert pruned["retention"] > 0.95
    assert pruned["size_bytes"] < rows["baseline"]["size_bytes"] / 4


def test_training_passes_are_refused_where_a_file_has_no_torch_form_and_the_other_variants_go_on(
    fleet: "Fleet", own_model: tuple[Path, Path]
) -> None:
    file, data = own_model
    model = onnx.load(file)
    model.graph.node[1].op_type = "Selu"
    unusual = file.with_name("unusual.onnx")
    onnx.save(model, unusual)
    fleet.json("model", "add", str(unusual), "--name", "unusual", "--data", str(data), "--json")
    job = fleet.json(
        "job", "submit", "unusual", "--recipe", "baseline", "--recipe", "prune50", "--seconds", "0.3", "--json"
    )
    watched = fleet.json("job", "watch", job["id"], "--json")
    rows = {row["name"]: row for row in watched["variants"]}
    assert rows["prune50"]["variant_state"] == "failed"
    assert rows["prune50"]["error"]["code"] == "needs_torch_model"
    assert "Selu" in rows["prune50"]["error"]["message"]
    assert rows["prune50"]["latency_ms"] is None
    assert rows["baseline"]["variant_state"] == "completed"


def test_a_model_without_data_is_calibrated_on_random_inputs_and_says_so(
    fleet: "Fleet", own_model: tuple[Path, Path]
) -> None:
    fleet.json("model", "add", str(own_model[0]), "--name", "bare", "--json")
    job = fleet.json("job", "submit", "bare", "--recipe", "int8", "--seconds", "0.3", "--json")
    row = fleet.json("job", "watch", job["id"], "--json")["variants"][0]
    assert row["accuracy_device"] is None
    assert "calibration_random" in row["notes"]


def test_a_second_job_reuses_the_compression_and_measures_again(fleet: "Fleet", own_model: tuple[Path, Path]) -> None:
    fleet.json("model", "add", str(own_model[0]), "--name", "again", "--data", str(own_model[1]), "--json")
    rows = []
    for _ in range(2):
        job = fleet.json("job", "submit", "again", "--recipe", "fp16", "--seconds", "0.3", "--json")
        rows.append(fleet.json("job", "watch", job["id"], "--json")["variants"][0])
    assert [row["compression_cached"] for row in rows] == [False, True]
    assert rows[0]["artifact_sha256"] == rows[1]["artifact_sha256"]
    assert rows[0]["samples_sha256"] != rows[1]["samples_sha256"]


def test_ending_controller_and_agent_leaves_nothing_running(fleet: "Fleet") -> None:
    """Last: it ends what the tests above share."""
    fleet.stop_all()
    assert [process.cmdline() for process in fleet.processes()] == []
