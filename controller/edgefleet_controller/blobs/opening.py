"""Which store of files the settings ask for."""

from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.settings import Settings


def open_blob_store(settings: Settings) -> BlobStore:
    """Files in the data directory, or in the object store of ``blob_url`` with copies in the data directory."""
    if settings.blob_url is None:
        return LocalBlobStore(settings.blob_dir)
    from edgefleet_controller.blobs.object_store import ObjectBlobStore

    return ObjectBlobStore(settings.blob_url, settings.blob_dir, settings.blob_cache_bytes)
