"""The notebook of docs/client.md goes the whole way, cell by cell, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "first_front.ipynb"
CHECKS = """
assert {row.variant for row in table} == {"baseline", "int8"}, table
assert all(row.provenance == "measured" and row.latency_p50_ms > 0 for row in table)
assert best
assert Path("first-front.html").read_text().startswith("<!doctype html>")
assert Path("first-front.csv").read_text().count("\\n") == 3
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def cells() -> list[str]:
    document = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_notebook_holds_no_outputs_of_some_machine() -> None:
    document = json.loads(NOTEBOOK.read_text())
    assert not any(cell.get("outputs") for cell in document["cells"])


def test_every_cell_runs_in_order(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="the notebook shows a data frame; the extra pandas is not installed")
    script = tmp_path / "first_front.py"
    script.write_text("\n\n".join([*cells(), CHECKS]))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr[-4000:]
