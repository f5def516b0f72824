"""Documents of ``/v1/blobs``."""

from pydantic import BaseModel, Field


class BlobView(BaseModel):
    """A stored file."""

    sha256: str = Field(description="SHA-256 of the bytes, lower-case hex; the file's name")
    size_bytes: int = Field(description="length in bytes")
