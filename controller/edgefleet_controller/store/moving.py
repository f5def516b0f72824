"""Moves a store from SQLite to an empty PostgreSQL database. Files, tokens and keys stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.store.errors import CopyDiffers, SourceUnsupported, StoreError
from edgefleet_controller.store.rows import (
    Digesting,
    Row,
    TableDigest,
    digest_table,
    encode_row,
    read_rows,
    set_sequences,
    write_rows,
)
from edgefleet_controller.store.shapes import TableShape, declared_shapes
from edgefleet_controller.store.snapshots import (
    clear_seeds,
    excluding_writers,
    opened,
    prepare_target,
    requeue_unfinished,
    require_newest_revision,
)


@dataclass(frozen=True)
class Moved:
    """What was copied; the digests of source and target were equal."""

    tables: tuple[TableDigest, ...]
    n_requeued_jobs: int


def move_store(source_url: str, target_url: str) -> Moved:
    """Copy all tables; the source is only read, and writers are kept out of it meanwhile.

    The target gets all rows in one transaction: an interrupted move leaves its tables empty, and may be repeated.
    """
    if make_url(source_url).get_backend_name() != "sqlite":
        raise SourceUnsupported(
            "only an SQLite store can be moved, because its writers can be kept out; save a PostgreSQL store with "
            "'edgefleet backup' and restore it elsewhere"
        )
    if make_url(target_url).get_backend_name() != "postgresql":
        raise SourceUnsupported("a store is moved to PostgreSQL: give --to postgresql+psycopg://user@host/database")
    with opened(source_url) as source_engine, excluding_writers(source_engine) as source:
        revision = require_newest_revision(source)
        try:
            prepare_target(target_url, revision)
            with opened(target_url) as target_engine, target_engine.begin() as target:
                shapes = declared_shapes()
                clear_seeds(target, shapes, revision)
                tables = tuple(_copy_table(source, target, shape) for shape in shapes)
                set_sequences(target, shapes)
                return Moved(tables, requeue_unfinished(target))
        except SQLAlchemyError as err:
            raise StoreError(
                f"the target refused: {getattr(err, 'orig', err)}; nothing was kept there, the source is as it was"
            ) from err


def _copy_table(source: Connection, target: Connection, shape: TableShape) -> TableDigest:
    digesting = Digesting(shape.name)

    def counted(row: Row) -> Row:
        digesting.add(encode_row(shape, row))
        return row

    write_rows(target, shape, (counted(row) for row in read_rows(source, shape)))
    written, read = digest_table(target, shape), digesting.digest()
    require_equal([read], [written])
    return read


def require_equal(expected: Sequence[TableDigest], found: Sequence[TableDigest]) -> None:
    """CopyDiffers unless the digests agree."""
    for wanted, present in zip(expected, found, strict=True):
        if wanted != present:
            raise CopyDiffers(
                f"{wanted.name}: {wanted.n_rows} rows with the checksum {wanted.checksum[:16]} were to be written, "
                f"{present.n_rows} with {present.checksum[:16]} are there; nothing was kept"
            )
