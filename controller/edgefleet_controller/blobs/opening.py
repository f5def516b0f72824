"""Which store of files the settings ask for."""

from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.settings import Settings


def open_blob_store(settings: Settings) -> BlobStore:
    """Files in the data directory."""
    return LocalBlobStore(settings.blob_dir)
