"""Brings a saved store back into an empty data directory and an empty database, of either back end."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.blobs.errors import BlobHashMismatch
from edgefleet_controller.db.migrate import migration_config, upgrade_to_head
from edgefleet_controller.store.archive import ArchiveReader, chunks_of, reading_archive
from edgefleet_controller.store.backup import StorePlaces
from edgefleet_controller.store.errors import ArchiveInvalid, ArchiveTooNew, StoreError, TargetNotEmpty
from edgefleet_controller.store.locks import LOCK_FILE, data_dir_to_itself
from edgefleet_controller.store.manifest import Manifest, SavedTable
from edgefleet_controller.store.moving import require_equal
from edgefleet_controller.store.rows import decode_row, digest_table, set_sequences, write_rows
from edgefleet_controller.store.snapshots import (
    clear_seeds,
    opened,
    prepare_target,
    requeue_unfinished,
    require_no_rows,
)


@dataclass(frozen=True)
class Restored:
    """What was brought back; every figure was compared with the backup's manifest."""

    manifest: Manifest
    n_blobs: int
    n_files: int
    n_requeued_jobs: int


def restore(path: Path, places: StorePlaces) -> Restored:
    """Verify the whole backup, then write it; on any failure before the database is written, nothing is left."""
    with reading_archive(path) as archive:
        _require_known(archive.manifest)
        archive.verify()
        with _only_into_nothing(places.data_dir):
            _require_empty_database(archive.manifest, places.database_url)
            n_files = _restore_files(archive, places.data_dir)
            n_blobs = _restore_blobs(archive, places)
            try:
                _restore_rows(archive, places.database_url)
            except SQLAlchemyError as err:
                raise StoreError(f"the database refused: {getattr(err, 'orig', err)}; nothing was kept") from err
        upgrade_to_head(places.database_url)
        with opened(places.database_url) as engine, engine.begin() as connection:
            n_jobs = requeue_unfinished(connection)
        return Restored(archive.manifest, n_blobs, n_files, n_jobs)


def _require_empty_database(manifest: Manifest, url: str) -> None:
    prepare_target(url, manifest.revision)
    with opened(url) as engine, engine.connect() as connection:
        require_no_rows(connection, [saved.shape for saved in manifest.tables], manifest.revision)


def _require_known(manifest: Manifest) -> None:
    try:
        ScriptDirectory.from_config(migration_config("")).get_revision(manifest.revision)
    except CommandError as err:
        raise ArchiveTooNew(
            f"the backup has the schema {manifest.revision}, which this program does not know; it was written by "
            f"{manifest.program}: use that version or a later one"
        ) from err


@contextmanager
def _only_into_nothing(data_dir: Path) -> Iterator[None]:
    """TargetNotEmpty unless the folder is empty; what was written into it is removed if the block fails."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with data_dir_to_itself(data_dir):
        present = sorted(item.name for item in data_dir.iterdir() if item.name != LOCK_FILE)
        if present:
            raise TargetNotEmpty(
                f"{data_dir} has {present[0]} and {len(present) - 1} others in it; name an empty folder"
            )
        try:
            yield
        except BaseException:
            _empty(data_dir)
            raise


def _empty(data_dir: Path) -> None:
    for item in data_dir.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name != LOCK_FILE:
            item.unlink()


def _restore_files(archive: ArchiveReader, data_dir: Path) -> int:
    names = archive.names("files")
    for name in names:
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ArchiveInvalid(f"the backup names the file {name}, which would lie outside the data directory")
        target = data_dir / relative
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        member = f"files/{name}"
        mode = archive.manifest.members[member].mode
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o700)
        with os.fdopen(descriptor, "wb") as file, archive.open(member) as source:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
    return len(names)


def _restore_blobs(archive: ArchiveReader, places: StorePlaces) -> int:
    wanted = [sha256 for sha256 in archive.names("blobs") if sha256 not in archive.manifest.absent_blobs]
    for sha256 in wanted:
        with archive.open(f"blobs/{sha256}") as file:
            try:
                places.blobs.put_stream(chunks_of(file), sha256)
            except BlobHashMismatch as err:
                raise ArchiveInvalid(f"the saved file {sha256} is damaged") from err
    return len(wanted)


def _restore_rows(archive: ArchiveReader, url: str) -> None:
    manifest = archive.manifest
    shapes = [saved.shape for saved in manifest.tables]
    with opened(url) as engine, engine.begin() as connection:
        clear_seeds(connection, shapes, manifest.revision)
        for saved in manifest.tables:
            _restore_table(connection, archive, saved)
        set_sequences(connection, shapes)


def _restore_table(connection: Connection, archive: ArchiveReader, saved: SavedTable) -> None:
    shape = saved.shape
    with archive.open(saved.member) as file, io.TextIOWrapper(file, encoding="utf-8") as lines:
        try:
            write_rows(connection, shape, (decode_row(shape, line) for line in lines))
        except ValueError as err:
            raise ArchiveInvalid(f"a row of {saved.name} cannot be read: {err}") from err
    require_equal([saved.digest], [digest_table(connection, shape)])
