"""Finds the artifacts that a comparison names."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_controller.artifacts.errors import ArtifactNotCompiled, UnknownArtifactNamed
from edgefleet_controller.comparisons import repository
from edgefleet_controller.comparisons.schemas import ArtifactReference, ComparedArtifact, VariantReference
from edgefleet_controller.db.tables import Artifact
from edgefleet_controller.workflows.compiled import golden_ref
from edgefleet_deploy.targets import TARGETS

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """An artifact with what an order needs of it; ``evaluation`` is the evaluation set of the job it was named by."""

    view: ComparedArtifact
    file_name: str
    manifest: JsonObject
    evaluation: JsonObject | None = None

    def as_order(self) -> JsonObject:
        """Its part of a run's order."""
        return {
            "runtime": self.view.runtime,
            "artifact": {"sha256": self.view.sha256, "size_bytes": self.view.size_bytes},
            "artifact_name": self.file_name,
            "manifest": self.manifest,
            "golden": golden_ref(self.manifest),
        }


def find_artifact(session: Session, wanted: ArtifactReference, side: str) -> Found:
    """The artifact; UnknownArtifactNamed if there is none, ArtifactNotCompiled if its variant has none yet."""
    if isinstance(wanted, VariantReference):
        return _of_variant(session, wanted, side)
    rows = [row for row in repository.artifacts_with_hash(session, wanted) if row.target in TARGETS]
    if not rows:
        raise UnknownArtifactNamed(f"{side}: no artifact has the hash {wanted}; a job's results list theirs.")
    return _found(rows[0], wanted[:12], None)


def _of_variant(session: Session, wanted: VariantReference, side: str) -> Found:
    row = repository.variant_of_job(session, wanted.job, wanted.variant)
    if row is None:
        raise UnknownArtifactNamed(
            f"{side}: job {wanted.job!r} has no variant {wanted.variant!r}; list them with `edgefleet job show`."
        )
    job, variant, artifact = row
    if artifact is None or artifact.target not in TARGETS:
        raise ArtifactNotCompiled(f"{side}: variant {variant.name} is {variant.state} and has no artifact.")
    return _found(artifact, variant.name, (job.prepared or {}).get("evaluation"))


def _found(artifact: Artifact, name: str, evaluation: JsonObject | None) -> Found:
    target = TARGETS[artifact.target]
    view = ComparedArtifact(
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        target=target.name,
        runtime=target.runtime,
        name=name,
    )
    return Found(view, str(artifact.manifest.get("file_name", target.file_name)), artifact.manifest, evaluation)
