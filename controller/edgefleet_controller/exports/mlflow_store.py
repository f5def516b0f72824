"""Results as runs of an MLflow store (extra ``mlflow``): params, metrics, tags and artifacts.

A row is exported once: its run carries the row's key as a tag, and a later export adds only what is new.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefleet_controller.client import Client, ClientError, ExtraMissing, ResultRow
from edgefleet_controller.client.rows import COLUMNS, flat_row

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAMS = ("variant", "recipe", "target", "device", "settings", "batch", "metric")
TAGS = ("provenance", "verdict", "verdict_reasons", "energy_scope", "energy_reason", "artifact_sha256", "run_id")
KEY = "edgefleet.row"
STATUS = {"valid": "FINISHED", "suspect": "FINISHED", "invalid": "FAILED"}
SQLITE = "sqlite:///"


def export_to_mlflow(client: Client, job_id: str, store: str, *, experiment: str | None = None) -> int:
    """Add a run for each row of the job that ended and is not there yet; returns how many were added.

    store: an MLflow tracking URI, such as ``sqlite:///mlflow.db`` or ``https://...``. Raises ExtraMissing without MLflow,
    ClientError ``mlflow_refused`` where the store cannot be used.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as err:
        raise ExtraMissing("mlflow", "mlflow") from err
    job, rows = client.job(job_id), client.result_table(job_id)
    try:
        tracking = MlflowClient(tracking_uri=store)
        experiment_id = _experiment(tracking, experiment or str(job["name"]), store)
        known = _known_keys(tracking, experiment_id, job_id)
        ended = [row for row in rows if row.verdict in STATUS and _key(job_id, row) not in known]
        for row in ended:
            _add_run(tracking, experiment_id, client, job, row)
    except MlflowException as err:
        raise ClientError("mlflow_refused", f"MLflow cannot use {store}: {err.message}") from err
    return len(ended)


def _experiment(tracking: "MlflowClient", name: str, store: str) -> str:
    """The experiment of this name. Beside a database file its artifacts lie in a folder; MLflow would take the working one."""
    found = tracking.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    folder = None
    if store.startswith(SQLITE):
        folder = (Path(store.removeprefix(SQLITE)).absolute().parent / "mlartifacts").as_uri()
    return str(tracking.create_experiment(name, artifact_location=folder))


def _known_keys(tracking: "MlflowClient", experiment_id: str, job_id: str) -> set[str]:
    keys: set[str] = set()
    token = None
    while True:
        page = tracking.search_runs([experiment_id], f"tags.`edgefleet.job` = '{job_id}'", page_token=token)
        keys |= {run.data.tags[KEY] for run in page if run.info.status in ("FINISHED", "FAILED")}
        token = page.token
        if not token:
            return keys


def _key(job_id: str, row: ResultRow) -> str:
    document = row.document
    return f"{job_id}/{document['variant_id']}/{document['device_id']}/{document['settings_ordinal']}"


def _add_run(tracking: "MlflowClient", experiment_id: str, client: Client, job: dict[str, Any], row: ResultRow) -> None:
    flat = flat_row(row.document)
    tags = {"edgefleet.job": job["id"], "edgefleet.url": f"{client.url}/jobs/{job['id']}", KEY: _key(job["id"], row)}
    tags |= {f"edgefleet.{name}": str(flat[name]) for name in TAGS if flat[name] not in (None, "")}
    run = tracking.create_run(experiment_id, run_name=f"{row.variant} on {row.device}", tags=tags)
    run_id = str(run.info.run_id)
    for name in PARAMS:
        if flat[name] not in (None, ""):
            tracking.log_param(run_id, name, flat[name])
    for name, (kind, _) in COLUMNS.items():
        if kind in (int, float) and name not in PARAMS and flat[name] is not None:
            tracking.log_metric(run_id, name, float(flat[name]))
    for file_name, document in _documents(client, row).items():
        tracking.log_text(run_id, json.dumps(document, indent=2), file_name)
    tracking.set_terminated(run_id, STATUS[row.verdict])


def _documents(client: Client, row: ResultRow) -> dict[str, Any]:
    """The row, the manifest of its artifact and the agent's report; what is gone by now is left out."""
    found: dict[str, Any] = {"result.json": row.document}
    if row.artifact_sha256 is not None:
        try:
            found["manifest.json"] = client.manifest(row.artifact_sha256)
        except ClientError as err:
            if err.status != 404:
                raise
    if row.run_id is not None and (report := client.run(row.run_id)["report"]) is not None:
        found["report.json"] = report
    return found
