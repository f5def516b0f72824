"""What a backup says of itself: the schema, the tables, and the SHA-256 of every file in it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_controller.store.errors import ArchiveInvalid, ArchiveTooNew
from edgefleet_controller.store.rows import TableDigest
from edgefleet_controller.store.shapes import ColumnShape, Kind, TableShape

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


class Member(BaseModel):
    """One file of the backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, lower-case hex")
    size_bytes: int = Field(ge=0, description="length in bytes")
    mode: int = Field(ge=0, le=0o777, description="permissions of the file when it is restored")


class SavedTable(BaseModel):
    """One table of the backup, in the order in which tables are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern="^[a-z][a-z0-9_]*$", description="name of the table")
    columns: tuple[tuple[str, Kind], ...] = Field(description="names and kinds of the columns")
    n_rows: int = Field(ge=0, description="number of rows")
    checksum: str = Field(description="sum of the rows' SHA-256 modulo 2**256, hex")

    @property
    def shape(self) -> TableShape:
        """The table's columns."""
        return TableShape(self.name, tuple(ColumnShape(name, kind) for name, kind in self.columns))

    @property
    def digest(self) -> TableDigest:
        """What a true copy of the rows has."""
        return TableDigest(self.name, self.n_rows, self.checksum)

    @property
    def member(self) -> str:
        """Where the rows are."""
        return f"tables/{self.name}.jsonl"


class Manifest(BaseModel):
    """The last file of a backup; a backup without it is not whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["edgefleet-backup"] = "edgefleet-backup"
    version: int = FORMAT_VERSION
    program: str = Field(description="name and version of what wrote it")
    created_at: datetime = Field(description="when its moment of the store was taken")
    back_end: str = Field(description="where the store was: sqlite or postgresql; it can be restored to either")
    revision: str = Field(description="the schema's revision")
    tables: tuple[SavedTable, ...]
    members: Mapping[str, Member]
    absent_blobs: tuple[str, ...] = Field(
        default=(), description="files that the store named and that were missing or damaged when it was saved"
    )


def parse_manifest(document: bytes) -> Manifest:
    """The manifest; ArchiveInvalid if it is none, ArchiveTooNew if a later program wrote it."""
    try:
        manifest = Manifest.model_validate_json(document)
    except ValidationError as err:
        raise ArchiveInvalid(
            f"the backup's manifest cannot be read: {err.errors(include_url=False)[0]['msg']}"
        ) from err
    if manifest.version > FORMAT_VERSION:
        raise ArchiveTooNew(
            f"the backup has the format {manifest.version}, this program knows {FORMAT_VERSION}; update it"
        )
    return manifest
