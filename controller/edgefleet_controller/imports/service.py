"""Stores a profile of another tool as a job with one result, so that lists, pages and comparisons know it like any other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import BlobRef
from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.blobs import repository as blob_rows
from edgefleet_controller.blobs.errors import BlobMissing
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, Job, Model, Result, Run, Variant
from edgefleet_controller.devices import repository as device_rows
from edgefleet_controller.devices import service as devices
from edgefleet_controller.imports.errors import DeviceIsABoard, ProfileRefused
from edgefleet_controller.imports.formats import format_called
from edgefleet_controller.imports.profile import PERCENTILES, Profile
from edgefleet_controller.imports.report import figures_of, report_of, verdict_of
from edgefleet_controller.imports.schemas import ImportCreate, ImportView
from edgefleet_controller.jobs.events import record_event
from edgefleet_controller.models import service as models
from edgefleet_controller.results.service import variant_rows

JsonObject = dict[str, Any]
KIND = "imported"
"""Of the devices that stand for those of other tools: no agent ever has their credential, and no list of boards shows them."""
MAX_BYTES = 64 * 1024 * 1024
"""Of a profile; trtexec writes some 300 bytes for an inference."""


@dataclass(frozen=True)
class Reading:
    """A profile with what is stored of it. samples: its single latencies, where it has them."""

    profile: Profile
    file: BlobRef
    samples: BlobRef | None


def require_file(session: Session, sha256: str) -> BlobRef:
    """The uploaded file; BlobMissing if it was not uploaded, ProfileRefused if it is too large for a profile."""
    row = blob_rows.find_blob(session, sha256)
    if row is None:
        raise BlobMissing(f"Upload the profile first: PUT /v1/blobs/{sha256}.")
    if row.size_bytes > MAX_BYTES:
        raise ProfileRefused(f"The file has {row.size_bytes} bytes; at most {MAX_BYTES} are read.")
    return BlobRef(sha256=sha256, size_bytes=row.size_bytes)


def read_profile(blobs: BlobStore, file: BlobRef, format_name: str) -> Reading:
    """The profile in the file; UnknownProfileFormat or ProfileRefused. Its latencies are stored as samples of a run are."""
    reader = format_called(format_name)
    with blobs.open(file.sha256) as opened:
        profile = reader.read(opened.read())
    if profile.latency_ns is None:
        return Reading(profile, file, None)
    # most tools do not say when an inference began; they are drawn one after the other
    start_ns = np.concatenate(([0], np.cumsum(profile.latency_ns[:-1])))
    columns = {"start_ns": start_ns.tolist(), "latency_ns": profile.latency_ns.tolist()}
    return Reading(profile, file, blobs.put_stream([encode_samples(columns, starts="assumed")]))


def find_import(session: Session, request: ImportCreate) -> Job | None:
    """The job that holds this very import already."""
    return session.scalar(select(Job).where(Job.identity_sha256 == _identity(request)).limit(1))


def store(session: Session, request: ImportCreate, reading: Reading) -> Job:
    """A completed job with one completed run; UnknownModelNamed, DeviceIsABoard or NameTaken."""
    model = models.choose(session, request.model)
    device = _device(session, request)
    for ref in (reading.file, reading.samples):
        if ref is not None:
            blob_rows.record_blob(session, ref, now_of(session))
    job, variant = _job(session, request, model), _variant(request)
    session.add(job)
    session.flush()
    variant.job_id = job.id
    session.add(variant)
    session.flush()
    run = _run(session, request, reading, variant, device)
    session.add(run)
    session.flush()
    session.add(_result(session, request, run, reading))
    record_event(session, job.id, "imported", f"figures of {reading.profile.tool} from {request.file_name}")
    return job


def view(session: Session, job: Job) -> ImportView:
    """The import as the API shows it."""
    row = variant_rows(session, job.id)[0]
    result = session.get_one(Result, row.run_id)
    facts = result.report["environment"]["runtime"]
    return ImportView(job=job.id, device_id=str(row.device_id), row=row, facts=facts)


def _identity(request: ImportCreate) -> str:
    return canonical_sha256({"import": request.model_dump(mode="json", exclude={"file_name"})})


def _device(session: Session, request: ImportCreate) -> Device:
    known = device_rows.find(session, request.device_name)
    if known is None:
        device = devices.new_device(session, request.device_name, request.board, KIND, {})
        device.state = "revoked"
        devices.insert(session, device)
        return device
    if known.kind != KIND:
        raise DeviceIsABoard(
            f"{known.name} is a board of the fleet; name the other tool's device otherwise, such as {known.name}-elsewhere."
        )
    return known


def _job(session: Session, request: ImportCreate, model: Model) -> Job:
    now = now_of(session)
    return Job(
        id=new_id("job"),
        name=f"{request.name} ({request.format})",
        model_id=model.id,
        state="completed",
        request={"imported": request.model_dump(mode="json")},
        progress=1.0,
        message="imported",
        created_at=now,
        started_at=now,
        finished_at=now,
        identity_sha256=_identity(request),
        version=1,
    )


def _variant(request: ImportCreate) -> Variant:
    recipe = {"name": request.name, "imported": request.format}
    return Variant(
        id=new_id("var"),
        ordinal=0,
        name=request.name,
        recipe=recipe,
        recipe_sha256=canonical_sha256(recipe),
        target=request.target,
        state="completed",
    )


def _run(session: Session, request: ImportCreate, reading: Reading, variant: Variant, device: Device) -> Run:
    now = now_of(session)
    order = {
        "kind": "measure",
        "runtime": reading.profile.tool,
        "profile": reading.file.model_dump(),
        "profile_name": request.file_name,
        "settings": {"batch": request.batch},
    }
    return Run(
        id=new_id("run"),
        job_id=variant.job_id,
        variant_id=variant.id,
        device_id=device.id,
        state="completed",
        attempt=1,
        order=order,
        created_at=now,
        started_at=now,
        finished_at=now,
    )


def _result(session: Session, request: ImportCreate, run: Run, reading: Reading) -> Result:
    figures = figures_of(reading.profile)
    report = report_of(reading.profile, figures, run.order["settings"], reading.samples, request.accuracy)
    return Result(
        run_id=run.id,
        attempt=run.attempt,
        job_id=run.job_id,
        report=report,
        report_sha256=canonical_sha256(report),
        samples_sha256=reading.samples.sha256 if reading.samples is not None else None,
        provenance=report["provenance"],
        verdict=verdict_of(reading.profile).value,
        latency_n=figures.n,
        **{f"latency_{name}_ms": figures.percentiles.get(name) for name in PERCENTILES},
        accuracy=request.accuracy,
        energy_reason=report["energy"]["reason"],
        created_at=now_of(session),
    )
