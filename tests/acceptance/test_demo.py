"""``edgefleet demo``, as a new user runs it."""

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgefleet_deploy.litert_tools import missing_tools

if TYPE_CHECKING:
    from tests.acceptance.conftest import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FIELDS = {
    "name", "recipe", "target", "artifact_sha256", "size_bytes", "size_ratio", "accuracy_device", "accuracy_host",
    "retention", "latency_ms", "speedup_p50", "peak_memory_bytes", "energy", "verdict", "on_front",
}  # fmt: skip


RECIPES = ["baseline", "int8", "prune50", "prune50-int8", "distill-int8", "joint"]


def test_the_demo_measures_six_variants_and_one_is_eight_times_smaller_at_95_percent(
    fleet: "Fleet", tmp_path: Path
) -> None:
    command = [str(fleet.scripts / "edgefleet"), "demo", "--json", str(tmp_path / "demo.json")]
    command += ["--data-dir", str(tmp_path / "demo")]
    done = subprocess.run(command, env=fleet.environment, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads((tmp_path / "demo.json").read_text())
    assert document["baseline"]["n_parameters"] <= 300_000
    assert document["baseline"]["accuracy_test"] >= 0.97
    rows = {row["name"]: row for row in document["variants"]}
    assert [name for name, row in rows.items() if row["target"] == "onnxruntime"] == RECIPES
    if not missing_tools():
        assert document["targets"] == ["onnxruntime", "litert"]
        assert [row["recipe"] for row in rows.values() if row["target"] == "litert"] == RECIPES
    for row in rows.values():
        assert row.keys() >= FIELDS
        assert row["variant_state"] == "completed"
        assert row["latency_ms"]["n"] >= 700
        assert row["accuracy_device"] == pytest.approx(row["accuracy_host"], abs=0.012)
    small = [row["name"] for row in rows.values() if row["size_ratio"] >= 8 and row["retention"] >= 0.95]
    assert "prune50-int8" in small
    assert any(row["on_front"] for row in rows.values())
    assert [process.cmdline() for process in fleet.processes()] == []
