"""Saves a store to one file while its controller runs: rows of one moment, files, tokens and keys."""

import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.errors import NotFound
from edgefleet_controller.store.archive import ArchiveWriter, writing_archive
from edgefleet_controller.store.data_files import files_to_save
from edgefleet_controller.store.errors import StoreError
from edgefleet_controller.store.manifest import Manifest, SavedTable
from edgefleet_controller.store.rows import Digesting, encode_row, read_rows
from edgefleet_controller.store.shapes import TableShape, declared_shapes
from edgefleet_controller.store.snapshots import opened, reading_one_moment, require_newest_revision


@dataclass(frozen=True)
class StorePlaces:
    """Where the parts of a store are."""

    data_dir: Path
    database_url: str
    blobs: BlobStore


@dataclass(frozen=True)
class Saved:
    """What a backup holds; ``absent_blobs`` were named by the store, and missing or damaged."""

    path: Path
    manifest_sha256: str
    n_rows: int
    n_blobs: int
    blob_bytes: int
    n_files: int
    absent_blobs: tuple[str, ...]


def back_up(places: StorePlaces, path: Path, now: datetime) -> Saved:
    """Write the backup; readable by its owner only, because it holds the operator token and keys."""
    try:
        with writing_archive(path) as archive:
            revision, back_end, tables, blobs = _save_rows(places.database_url, archive)
            n_files = _save_files(places.data_dir, archive)
            absent = tuple(sha256 for sha256 in blobs if not _save_blob(places.blobs, sha256, archive))
            manifest = Manifest(
                program=f"edgefleet {version('edgefleet')}",
                created_at=now,
                back_end=back_end,
                revision=revision,
                tables=tuple(tables),
                members=archive.members,
                absent_blobs=absent,
            )
            manifest_sha256 = archive.finish(manifest)
    except (OSError, SQLAlchemyError) as err:
        raise StoreError(f"the backup could not be written: {getattr(err, 'orig', err)}; nothing was kept") from err
    stored = [item for name, item in manifest.members.items() if name.startswith("blobs/")]
    return Saved(
        path=path,
        manifest_sha256=manifest_sha256,
        n_rows=sum(table.n_rows for table in tables),
        n_blobs=len(stored),
        blob_bytes=sum(item.size_bytes for item in stored),
        n_files=n_files,
        absent_blobs=absent,
    )


def _save_rows(url: str, archive: ArchiveWriter) -> tuple[str, str, Sequence[SavedTable], Sequence[str]]:
    """Revision, back end, tables, and the hashes of the files that the store named at that moment."""
    blobs: list[str] = []
    with opened(url) as engine, reading_one_moment(engine) as connection:
        revision = require_newest_revision(connection)
        tables = [_save_table(connection, shape, archive, blobs) for shape in declared_shapes()]
        return revision, engine.dialect.name, tables, blobs


def _save_table(connection: Connection, shape: TableShape, archive: ArchiveWriter, blobs: list[str]) -> SavedTable:
    digesting = Digesting(shape.name)
    with tempfile.TemporaryFile() as lines:
        for row in read_rows(connection, shape):
            line = encode_row(shape, row)
            digesting.add(line)
            lines.write(line.encode() + b"\n")
            if shape.name == "blobs":
                values = {item.name: value for item, value in zip(shape.columns, row, strict=True)}
                blobs.extend([values["sha256"]] if values["expired_at"] is None else [])
        digest = digesting.digest()
        columns = tuple((item.name, item.kind) for item in shape.columns)
        saved = SavedTable(name=shape.name, columns=columns, n_rows=digest.n_rows, checksum=digest.checksum)
        size_bytes = lines.tell()
        lines.seek(0)
        archive.add(saved.member, lines, size_bytes)
    return saved


def _save_files(data_dir: Path, archive: ArchiveWriter) -> int:
    n_files = 0
    for name, path in files_to_save(data_dir):
        try:
            file = path.open("rb")
        except FileNotFoundError:  # of a process that runs meanwhile, such as an agent that keeps its state here
            continue
        with file:
            facts = os.fstat(file.fileno())
            archive.add(f"files/{name}", file, facts.st_size, stat.S_IMODE(facts.st_mode) & 0o700)
        n_files += 1
    return n_files


def _save_blob(blobs: BlobStore, sha256: str, archive: ArchiveWriter) -> bool:
    """Whether the file was there and is what its name says; a damaged one is kept, and not restored."""
    try:
        path = blobs.path(sha256)
    except NotFound:
        return False
    with path.open("rb") as file:
        return archive.add(f"blobs/{sha256}", file, os.fstat(file.fileno()).st_size) == sha256
