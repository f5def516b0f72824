"""Operator tables from manifests and files, and what is wrong with some."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.simulate.operators import Kind, Operator, OperatorTable, Precision, read_table, table_from_manifest

ROW = {"kind": "dense", "macs": 6, "weight_bytes": 24, "activation_elements": 5}


def test_table_is_read_from_a_manifest_with_other_fields() -> None:
    table = table_from_manifest({"precision": "int8", "operators": [ROW], "sha256": "x"})
    assert table == OperatorTable((Operator(Kind.DENSE, 6, 24, 5),), Precision.INT8)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"precision": "fp32", "operators": []},
        {"operators": [ROW]},
        {"precision": "fp16", "operators": [ROW]},
        {"precision": "fp32", "operators": [{"kind": "dense"}]},
        {"precision": "fp32", "operators": [{**ROW, "kind": "quantum"}]},
        {"precision": "fp32", "operators": [{**ROW, "macs": -1}]},
        {"precision": "fp32", "operators": ["dense"]},
    ],
)
def test_manifest_without_a_sound_table_is_refused(manifest: "dict[str, Any]") -> None:
    with pytest.raises(ValueError, match=r"."):
        table_from_manifest(manifest)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"precision": "fp32", "operators": 3})])
def test_file_without_a_table_says_what_is_needed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(SettingsInvalid, match="activation_elements"):
        read_table(path)
