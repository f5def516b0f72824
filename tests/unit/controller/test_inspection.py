"""Inspecting a model file in a child process; the child is whatever module the test names."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgefleet_controller.engine.child_process import ChildLimits
from edgefleet_controller.models.errors import InspectionFailed, ModelRefused
from edgefleet_controller.models.inspection import ChildInspector
from edgefleet_controller.settings import Settings


@pytest.fixture
def make_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChildInspector:
    """An inspector whose child runs ``child.py`` of the temporary folder."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return ChildInspector(ChildLimits(timeout_s=60, file_size_bytes=0, address_space_bytes=2**30, cpu_s=2), "child")


def test_a_file_that_is_no_model_is_refused_with_the_inspection_s_code(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    with pytest.raises(ModelRefused) as caught:
        ChildInspector.from_settings(Settings(data_dir=tmp_path)).inspect(junk)
    assert caught.value.code == "file_corrupt"
    assert caught.value.status == 422


def test_a_child_that_crashes_is_the_server_s_fault(make_child: ChildInspector, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import os; os.abort()")
    with pytest.raises(InspectionFailed) as caught:
        make_child.inspect(tmp_path)
    assert (caught.value.code, caught.value.fault) == ("inspection_failed", "server")


def test_a_child_that_computes_for_ever_is_stopped_by_its_cpu_limit(make_child: ChildInspector, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("while True: pass")
    with pytest.raises(InspectionFailed, match="more CPU time than a step may"):
        make_child.inspect(tmp_path)


def test_a_child_that_wants_too_much_memory_does_not_get_it(make_child: ChildInspector, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("bytearray(4 * 2**30)")
    with pytest.raises(InspectionFailed, match="status 1"):
        make_child.inspect(tmp_path)


def test_a_child_cannot_write_files(make_child: ChildInspector, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(f"open({str(tmp_path / 'x')!r}, 'w').write('x')")
    with pytest.raises(InspectionFailed):
        make_child.inspect(tmp_path)
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0


STEP_LIBRARIES = ("torch", "onnx", "dbos", "sklearn", "scipy", "pandas", "pyarrow")


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("edgefleet_controller.app", STEP_LIBRARIES),
        ("edgefleet_controller.cli", (*STEP_LIBRARIES, "fastapi", "sqlalchemy", "alembic")),
    ],
)
def test_what_people_wait_for_loads_no_library_that_only_others_need(module: str, unused: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {unused} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
