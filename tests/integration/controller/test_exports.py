"""A job that was really measured by hand-driven devices, as files for other tools and for colleagues."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.integration.controller.conftest import Fleet, JsonObject
from tests.integration.controller.test_results import measure
from tests.unit.deploy.test_bundle import make_manifest

from edgefleet_controller.client import Client
from edgefleet_controller.db.tables import Artifact
from edgefleet_controller.exports.report import gather, render_report

MARKUP = "<script>alert(1)</script>\"'&"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Page(HTMLParser):
    """What a browser would make of the report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]
        self.addresses += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    with Client(fleet.url, fleet.services.operator_token) as client:
        yield client


@pytest.fixture
def job(fleet: Fleet) -> JsonObject:
    """baseline and int8 are measured, int8 suspect; prune50 waits."""
    device = fleet.add_device("bench")
    job = fleet.add_job(("baseline", "int8", "prune50"), name=MARKUP)
    measure(fleet, job, device, 0, factor=1.0, accuracy=1.0, n_bytes=4000)
    doubt = {"status": "suspect", "reasons": ["no_steady_state"]}
    measure(fleet, job, device, 1, factor=0.5, accuracy=0.99, n_bytes=1000, verdict=doubt)
    with fleet.services.database.writing() as session:
        for artifact in session.scalars(select(Artifact)):
            artifact.manifest = make_manifest(sha256=artifact.sha256).model_dump(mode="json")
    return job


def test_report_of_a_running_job_is_whole_harmless_and_says_that_it_is_partial(client: Client, job: JsonObject) -> None:
    html = render_report(gather(client, job["id"], now=NOW))
    page = Page(html)
    assert "script" not in page.tags
    assert page.addresses == []
    assert "http-equiv" in html
    assert "partial results" in page.text
    assert MARKUP in page.text
    assert page.tags.count("svg") == 3  # a front, latency and size; nothing measured energy
    assert page.tags.count("circle") == 2
    assert "1.05 [1.0" in page.text  # the median with its interval
    assert "no_steady_state" in page.text
    assert "no_sensor" in page.text
    assert "There is no power sensor" in page.text
    assert "prune50" in page.text


def test_report_of_an_ended_job_shows_it_as_whole(fleet: Fleet, client: Client, job: JsonObject) -> None:
    fleet.post(f"/v1/jobs/{job['id']}/cancel")
    fleet.sweeper.finish_cancels()
    assert "is still" not in Page(render_report(gather(client, job["id"], now=NOW))).text


def test_report_without_any_figure_has_no_plots_and_no_holes(fleet: Fleet, client: Client) -> None:
    fleet.add_device("bench")
    page = Page(render_report(gather(client, fleet.add_job()["id"], now=NOW)))
    assert "svg" not in page.tags
    assert "No device has measured figures yet" in page.text


@pytest.mark.filterwarnings("ignore")  # MLflow's own use of SQLAlchemy is what warns
def test_mlflow_reads_back_what_was_measured(client: Client, job: JsonObject, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from edgefleet_controller.exports.mlflow_store import export_to_mlflow

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert export_to_mlflow(client, job["id"], store, experiment="net") == 2  # prune50 has not ended
    assert export_to_mlflow(client, job["id"], store, experiment="net") == 0  # and nothing is there twice
    tracking = mlflow.MlflowClient(tracking_uri=store)
    found = tracking.search_runs([tracking.get_experiment_by_name("net").experiment_id])
    runs = {run.data.params["variant"]: run for run in found}
    rows = {row.variant: row for row in client.result_table(job["id"])}
    assert set(runs) == {"baseline", "int8"}
    assert runs["int8"].data.metrics["latency_p50_ms"] == rows["int8"].latency_p50_ms
    assert runs["int8"].data.metrics["size_ratio"] == 4
    assert runs["int8"].data.tags["edgefleet.verdict"] == "suspect"
    assert "energy_mj" not in runs["int8"].data.metrics
    path = tracking.download_artifacts(runs["baseline"].info.run_id, "result.json", str(tmp_path))
    assert json.loads(Path(path).read_text()) == rows["baseline"].document
    names = [file.path for file in tracking.list_artifacts(runs["baseline"].info.run_id)]
    assert names == ["manifest.json", "report.json", "result.json"]
    assert runs["baseline"].info.status == "FINISHED"
