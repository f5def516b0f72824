"""Registers and finds models."""

from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.data.registry import PACKAGED
from edgefleet_compression.errors import RequestInvalid
from edgefleet_compression.metrics import require_metric, require_supported
from edgefleet_controller.blobs.errors import BlobMissing
from edgefleet_controller.blobs.repository import find_blob, touch
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Model
from edgefleet_controller.errors import NotFound
from edgefleet_controller.models import repository
from edgefleet_controller.models.errors import MetricRefused, UnknownDataSet, UnknownModelNamed
from edgefleet_controller.models.schemas import DataSpec, ModelCreate, PackagedData, UploadedData


def require_files(session: Session, request: ModelCreate) -> None:
    """BlobMissing or UnknownDataSet unless the files that the request names were uploaded; MetricRefused for other tasks."""
    try:
        require_supported(request.task)
    except RequestInvalid as err:
        raise MetricRefused(err.code, err.message, **err.detail) from err
    if find_blob(session, request.blob_sha256) is None:
        raise BlobMissing(f"Upload the model first: PUT /v1/blobs/{request.blob_sha256}.")
    require_data(session, request.data)


def require_data(session: Session, data: DataSpec | None) -> None:
    """UnknownDataSet for a packaged data set that there is not, or a file that was not uploaded."""
    if isinstance(data, PackagedData) and data.name not in PACKAGED:
        raise UnknownDataSet(f"No packaged data set is called {data.name!r}; there is {', '.join(PACKAGED)}.")
    if isinstance(data, UploadedData) and find_blob(session, data.sha256) is None:
        raise UnknownDataSet(f"Upload the data set first: PUT /v1/blobs/{data.sha256}.")


def register(session: Session, request: ModelCreate, facts: dict[str, Any]) -> Model:
    """A model whose file was inspected; ``facts`` is what the inspection found."""
    touch(session, request.blob_sha256)
    if isinstance(request.data, UploadedData):
        touch(session, request.data.sha256)
    model = Model(
        id=new_id("mod"),
        name=request.name,
        format=facts["format"],
        blob_sha256=request.blob_sha256,
        facts=facts,
        data=request.data.model_dump(mode="json") if request.data is not None else None,
        created_at=now_of(session),
    )
    repository.add(session, model)
    return model


def find(session: Session, name_or_id: str) -> Model:
    """The model with this identifier, else the newest of this name; NotFound if there is none."""
    model = repository.find(session, name_or_id)
    if model is None:
        raise NotFound(f"No model is called {name_or_id!r}; list them with `edgefleet model ls`.")
    return model


def choose(session: Session, name_or_id: str) -> Model:
    """The model a job asks for; UnknownModelNamed if there is none."""
    model = repository.find(session, name_or_id)
    if model is None:
        raise UnknownModelNamed(f"No model is called {name_or_id!r}; list them with `edgefleet model ls`.")
    return model


def require_job_metric(model: Model, metric: str) -> None:
    """MetricRefused unless the metric is known and says something of this model."""
    outputs = model.facts.get("outputs") or [{}]
    shape = outputs[0].get("shape") or []
    task = model.facts.get("task") or {}
    n_classes = task.get("n_classes") or (shape[1] if len(shape) == 2 else None)
    try:
        require_metric(metric, n_classes=n_classes)
    except RequestInvalid as err:
        raise MetricRefused(err.code, err.message, **err.detail) from err
