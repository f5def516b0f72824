"""Finds artifacts."""

from pathlib import Path

from sqlalchemy.orm import Session

from edgefleet_controller.artifacts import repository
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.errors import NotFound
from edgefleet_deploy.manifest import ArtifactManifest


def locate(session: Session, sha256: str, blobs: BlobStore) -> Path:
    """Where the artifact's file is; NotFound unless it was compiled here."""
    if repository.find_by_hash(session, sha256) is None:
        raise NotFound(f"No artifact has the hash {sha256}.")
    return blobs.path(sha256)


def manifest(session: Session, sha256: str) -> ArtifactManifest:
    """The artifact's manifest; NotFound unless it was compiled here."""
    artifact = repository.find_by_hash(session, sha256)
    if artifact is None:
        raise NotFound(f"No artifact has the hash {sha256}.")
    return ArtifactManifest.model_validate(artifact.manifest)
