"""Documents of ``/v1/blobs``."""

from pydantic import BaseModel, Field


class UploadState(BaseModel):
    """An upload in parts that has not ended."""

    sha256: str = Field(description="SHA-256 that the whole file will have, lower-case hex")
    received_bytes: int = Field(description="bytes that have arrived; the next part begins here, 0 for a new upload")


class BlobView(BaseModel):
    """A stored file."""

    sha256: str = Field(description="SHA-256 of the bytes, lower-case hex; the file's name")
    size_bytes: int = Field(description="length in bytes")
