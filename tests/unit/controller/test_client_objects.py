"""What the client gives beside documents: jobs, typed rows, fronts, tables for other tools; and what it does not import."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.controller.test_gate import row

from edgefleet_controller.client import Client, ClientError, ExtraMissing, JobDidNotComplete, Results
from edgefleet_controller.client.rows import COLUMNS, flat_row
from edgefleet_controller.results.schemas import VariantRow

UNMEASURED = {"latency_ms": None, "accuracy_device": None, "accuracy_interval": None, "on_front": False}


def answering(answer: Callable[[httpx.Request], object]) -> Client:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer(request)))
    return Client("http://controller", "eot_x", transport=transport)


def job(state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "name": "net",
        "state": state,
        "progress": 0.5,
        "message": "compresses",
        "version": 1,
        **changes,
    }


class TestImports:
    def test_client_brings_no_torch_and_nothing_of_the_server(self) -> None:
        heavy = ("torch", "numpy", "pandas", "scipy", "sqlalchemy", "fastapi", "pydantic", "edgefleet_compression")
        said = f"import sys, edgefleet_controller.client; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestJob:
    def test_waits_with_a_line_for_each_change(self, capsys: pytest.CaptureFixture[str]) -> None:
        states: Iterator[dict[str, Any]] = iter(
            [job(), job(version=2), job("completed", version=3, progress=1.0, message="completed")]
        )
        waited = answering(lambda _: next(states)).open_job("job_1")
        assert waited.wait(progress=True).state == "completed"
        assert capsys.readouterr().err.splitlines() == [
            "job_1 running [ 50 %] compresses",
            "job_1 completed [100 %] completed",
        ]

    def test_failure_is_an_error_with_the_jobs_code_and_the_next_step(self) -> None:
        failed = job("failed", error={"code": "work_lost", "message": "nobody took it"})
        with pytest.raises(JobDidNotComplete, match="nobody took it; its log: edgefleet job events job_1") as caught:
            answering(lambda _: failed).open_job("job_1").wait()
        assert caught.value.code == "work_lost"

    def test_patience_ends_and_the_job_goes_on(self) -> None:
        with pytest.raises(ClientError) as caught:
            answering(lambda _: job()).open_job("job_1").wait(timeout_s=0)
        assert caught.value.code == "wait_timed_out"

    def test_file_is_registered_before_it_is_submitted(self, tmp_path: Path) -> None:
        asked: list[str] = []

        def answer(request: httpx.Request) -> object:
            asked.append(request.url.path.partition("blobs")[0])
            return {"id": "mdl_1"} if request.url.path == "/v1/models" else job("queued")

        (tmp_path / "net.onnx").write_bytes(b"model")
        assert answering(answer).submit(tmp_path / "net.onnx").id == "job_1"
        assert asked == ["/v1/", "/v1/models", "/v1/jobs"]

    def test_constraints_are_asked_of_the_controller(self) -> None:
        asked: list[httpx.URL] = []

        def answer(request: httpx.Request) -> object:
            asked.append(request.url)
            axis = {"name": "size_bytes"}
            return {"x": axis, "y": axis, "provenance": None, "points": [], "left_out": []}

        answering(answer).front("job_1", constraints=["latency_p90_ms<=20", "accuracy>=0.9"])
        assert asked[0].params.get_list("constraint") == ["latency_p90_ms<=20", "accuracy>=0.9"]


class TestRows:
    def test_every_column_names_a_place_that_the_api_describes(self) -> None:
        """A place that is misspelt would be an empty column for ever."""
        schema = VariantRow.model_json_schema()
        for place in (place for _, place in COLUMNS.values()):
            assert place[0] in schema["properties"], place

    def test_figures_are_typed_and_what_is_missing_is_none(self) -> None:
        measured, failed = Results([row(), row("prune50", **UNMEASURED)], partial=False)
        assert (measured.latency_p50_ms, measured.latency_p50_interval_ms) == (10.0, (9.8, 10.2))
        assert (measured.accuracy, measured.accuracy_interval) == (0.9, (0.88, 0.92))
        assert (measured.energy_mj, measured.energy_reason) == (None, "no_sensor")
        assert (failed.latency_p50_ms, failed.accuracy, failed.latency_p50_interval_ms) == (None, None, None)

    def test_data_frame_has_nulls_and_types(self) -> None:
        pd = pytest.importorskip("pandas", reason="the extra pandas is not installed")
        frame = Results([row(), row("prune50", **UNMEASURED)], partial=False).to_pandas()
        assert list(frame.columns) == list(COLUMNS)
        assert frame["latency_p50_ms"].tolist()[0] == 10.0
        assert frame["latency_p50_ms"].isna().tolist() == [False, True]
        assert pd.api.types.is_integer_dtype(frame["size_bytes"])

    def test_without_pandas_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ExtraMissing, match=r"pip install 'edgefleet\[pandas\]'"):
            Results([row()], partial=False).to_pandas()

    def test_csv_is_read_back_by_the_standard_reader(self, tmp_path: Path) -> None:
        strange = row('a,"b"\nc', device_name="=cmd|' /C calc'!A0")
        path = Results([strange], partial=False).to_csv(tmp_path / "rows.csv")
        with path.open(newline="") as file:
            [read] = csv.DictReader(file)
        assert read["variant"] == 'a,"b"\nc'
        assert read["device"].startswith("'=")  # a spreadsheet runs no formula that a board is called by
        assert (read["latency_p50_ms"], read["energy_mj"], read["on_front"]) == ("10.0", "", "true")

    def test_parquet_is_read_back_with_types(self, tmp_path: Path) -> None:
        pq = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
        results = Results([row(), row("prune50", **UNMEASURED)], partial=True)
        table = pq.read_table(results.to_parquet(tmp_path / "rows.parquet"))
        assert table.to_pylist() == [flat_row(document) for document in results.documents]
        assert str(table.schema.field("size_bytes").type) == "int64"
        assert table.schema.metadata[b"edgefleet.partial"] == b"true"
