"""Everything that is known of one run: what its page shows and its bundle holds."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_agent.wire.samples import SamplesInvalid, decode_arrays
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.tables import Artifact, Blob, Device, Job, Result, Run, Variant
from edgefleet_controller.errors import NotFound

LOG = logging.getLogger(__name__)
JsonObject = dict[str, Any]
Columns = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class RunRecord:
    """A run with its surroundings; what a comparison's run or an unfinished one lacks is None."""

    run: Run
    job: Job | None
    variant: Variant | None
    device: Device | None
    artifact: Artifact | None
    result: Result | None

    @property
    def report(self) -> JsonObject:
        """The accepted report; empty without one."""
        return self.result.report if self.result is not None else {}

    @property
    def title(self) -> str:
        """What was measured where, for a person."""
        what = self.variant.name if self.variant is not None else f"{self.run.kind} comparison"
        return f"{what} on {self.device.name if self.device is not None else 'no board yet'}"


def find_record(session: Session, run_id: str) -> RunRecord:
    """The run with its surroundings; NotFound if there is none."""
    query = (
        select(Run, Job, Variant, Device, Artifact, Result)
        .outerjoin(Job, Job.id == Run.job_id)
        .outerjoin(Variant, Variant.id == Run.variant_id)
        .outerjoin(Device, Device.id == Run.device_id)
        .outerjoin(Artifact, Artifact.key_sha256 == Variant.artifact_key)
        .outerjoin(Result, Result.run_id == Run.id)
        .where(Run.id == run_id)
    )
    row = session.execute(query).first()
    if row is None:
        raise NotFound(f"There is no run {run_id!r}; it may have been deleted with its project.")
    return RunRecord(*row)


@dataclass(frozen=True)
class RawSamples:
    """One file of raw samples. reason: why there are no columns, for a person."""

    header: JsonObject
    columns: Columns
    reason: str | None = None

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.columns)


def read_samples(session: Session, blobs: BlobStore, record: RunRecord, name: str) -> RawSamples:
    """The run's raw samples of this name: latency, warmup or power; without columns where they cannot be read."""
    ref = record.report.get("samples", {}).get(name)
    if ref is None:
        return RawSamples({}, {}, "The run has none.")
    if not blobs.exists(ref["sha256"]):
        row = session.get(Blob, ref["sha256"])
        expired = row.expired_at if row is not None else None
        return RawSamples({}, {}, f"Removed after their retention on {expired:%Y-%m-%d}." if expired else "Not stored.")
    with blobs.open(ref["sha256"]) as file:
        data = file.read()
    try:
        header, arrays = decode_arrays(data)
    except SamplesInvalid as err:
        LOG.warning("samples %s of run %s cannot be read: %s", name, record.run.id, err)
        return RawSamples({}, {}, f"They cannot be read: {err}.")
    return RawSamples(header, {column: np.asarray(values, dtype=np.int64) for column, values in arrays.items()})
