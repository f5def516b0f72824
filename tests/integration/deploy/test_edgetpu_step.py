"""The compile step for an Edge TPU as the controller runs it, with an executable in place of the vendor's compiler."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefleet_deploy.litert_tools import missing_tools
from edgefleet_deploy.manifest import ArtifactManifest, verify_file

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="needs the extra tflite (make setup EXTRAS=tflite)")

DIGITS = {"kind": "packaged", "name": "digits"}

COMPILED = (
    "HAAAAFRGTDMAAAAAAAAOABQAEAAMAAgAAAAEAA4AAAAQAAAAFAAAABgAAAADAAAAAQAAAGgBAAABAAAATAAAAAEAAAAQAAAADAAQAA8ACAAA"
    "AAQADAAAACAAAAAIAAAAAAAAIBEAAABlZGdldHB1LWN1c3RvbS1vcAAAAAwAFAAQAAwACAAEAAwAAAAQAAAARAAAAEgAAABMAAAAAQAAABAA"
    "AAAAAAoADAAAAAgABAAKAAAAEAAAABQAAAAEAAQABAAAAAEAAAABAAAAAQAAAAAAAAABAAAAAQAAAAEAAAAAAAAAAgAAAFwAAAAEAAAAuv//"
    "/xAAAAAwAAAAAAAACRwAAACs////BAAAAAEAAAAAAAAAAAAAAAAAAAACAAAAAQAAAAIAAAAHAAAAdGVuc29yMQAAAA4AFAAQAA8AAAAIAAQA"
    "DgAAABwAAAA8AAAAAAAACSgAAAAMAAgAAAAAAAAABAAMAAAABAAAAAEAAAAAAAAAAAAAAAAAAAACAAAAAQAAAAIAAAAHAAAAdGVuc29yMAAA"
    "AAYACAAEAAYAAAAEAAAAAAAAAA=="
)
"""A .tflite file of one operator, edgetpu-custom-op, as the compiler leaves behind where all is mapped."""

TOOL = """\
#!{python}
import base64, pathlib, sys
if "--help" in sys.argv:
    sys.exit(print("-m, --min_runtime_version"))
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
(out / "model_edgetpu.tflite").write_bytes(base64.b64decode("{compiled}"))
print("Edge TPU Compiler version 16.0.384591198")
print("On-chip memory used for caching model parameters: 256.00KiB")
print("Off-chip memory used for streaming uncached model parameters: 0.00B")
"""


@pytest.mark.slow
def test_manifest_tells_what_the_compiler_did_and_the_hosts_figures_are_the_plain_files(
    run_step: Callable[..., tuple[int, list[dict[str, Any]]]],
    candidates: dict[str, Path],
    evaluation: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = tmp_path / "bin" / "edgetpu_compiler"
    tool.parent.mkdir()
    tool.write_text(TOOL.format(python=sys.executable, compiled=COMPILED))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")

    _status, events = run_step(
        candidate=candidates["int8"],
        target={"name": "coral-usb"},
        data=DIGITS,
        evaluation=evaluation,
        output_dir=tmp_path / "out",
    )
    assert events[-1]["event"] == "done", events[-1]
    result = events[-1]["result"]
    manifest = ArtifactManifest.model_validate(result["manifest"])

    assert result["artifact"] == "model.edgetpu.tflite"
    verify_file(manifest, tmp_path / "out" / result["artifact"])
    assert manifest.edgetpu is not None
    assert (manifest.edgetpu.on_chip_used_bytes, manifest.edgetpu.off_chip_bytes) == (256 * 1024, 0)
    assert (manifest.edgetpu.expected_mapped, manifest.edgetpu.macs_share) == (True, 1.0)
    assert (manifest.runtime, manifest.min_runtime_version) == ("edgetpu", "14")
    assert manifest.golden is not None
    assert "parity_before_edgetpu_compiler" in manifest.notes
    assert 0.0 <= result["accuracy_host"]["value"] <= 1.0
