"""One moment of a store, on either back end, and what is needed to write a copy into an empty one."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, delete, inspect, table, update
from sqlalchemy.exc import OperationalError

from edgefleet_controller.db.database import create_database_engine
from edgefleet_controller.db.migrate import head_revision, migration_config
from edgefleet_controller.db.tables import Job
from edgefleet_controller.store.errors import RevisionMismatch, StoreInUse, TargetNotEmpty
from edgefleet_controller.store.rows import count_rows
from edgefleet_controller.store.shapes import TableShape


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine that is closed at the end."""
    engine = create_database_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def reading_one_moment(engine: Engine) -> Iterator[Connection]:
    """A connection that sees the store as it is now, whatever others write meanwhile; it hinders nobody."""
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    else:
        options = {"edgefleet_reader": True}  # in WAL mode a read transaction keeps its snapshot
    with engine.execution_options(**options).connect() as connection, connection.begin():
        yield connection


@contextmanager
def excluding_writers(engine: Engine) -> Iterator[Connection]:
    """A connection to SQLite that keeps every writer out until the end; StoreInUse if one does not let go."""
    with engine.connect() as connection:
        try:
            transaction = connection.begin()
        except OperationalError as err:
            raise StoreInUse(f"something writes into {engine.url.database} without end; stop it first") from err
        with transaction:
            yield connection


def require_newest_revision(connection: Connection) -> str:
    """The store's revision; RevisionMismatch unless it is the one that this program knows as the newest."""
    revision, newest = revision_of(connection), head_revision()
    if revision is None or revision != newest:
        raise RevisionMismatch(
            f"the store has the schema {revision or 'of an empty database'}, this program {newest}; start "
            "'edgefleet serve' of this version on it once, or use the version that wrote it"
        )
    return revision


def revision_of(connection: Connection) -> str | None:
    """The store's revision; None if it has no tables of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def prepare_target(url: str, revision: str) -> None:
    """Make the tables of ``revision`` in an empty database; one that has them must have no rows."""
    with opened(url) as engine:
        with engine.connect() as connection:
            present, tables = revision_of(connection), set(inspect(connection).get_table_names())
        if present is None:
            if tables - {"alembic_version"}:
                raise TargetNotEmpty(
                    f"the target has tables of something else, such as {min(tables)}; name an empty one"
                )
            command.upgrade(migration_config(url), revision)
        elif present != revision:
            raise RevisionMismatch(
                f"the target has the schema {present}, the source {revision}; name an empty database"
            )


def clear_seeds(connection: Connection, shapes: Sequence[TableShape], revision: str) -> None:
    """Delete what the migrations themselves put into a new store; TargetNotEmpty if there is anything else."""
    filled = require_no_rows(connection, shapes, revision)
    for shape in reversed(shapes):
        if shape.name in filled:
            connection.execute(delete(table(shape.name)))


def require_no_rows(connection: Connection, shapes: Sequence[TableShape], revision: str) -> Collection[str]:
    """Names of the tables with rows of the migrations themselves; TargetNotEmpty if there is anything else."""
    found = {shape.name: count_rows(connection, shape.name) for shape in shapes}
    filled = {name: n_rows for name, n_rows in found.items() if n_rows}
    if filled and filled != {name: n_rows for name, n_rows in _seeds_of(revision).items() if n_rows}:
        listed = ", ".join(f"{name}: {n_rows}" for name, n_rows in filled.items())
        raise TargetNotEmpty(f"the target has rows already ({listed}); name an empty database")
    return filled


def requeue_unfinished(connection: Connection) -> int:
    """Let the engine begin again what it was at; returns the number of jobs.

    The engine's own tables are not copied. A job's steps are idempotent and cached, so it goes on where it was.
    """
    return connection.execute(update(Job).where(Job.state == "running").values(state="queued")).rowcount


@cache
def _seeds_of(revision: str) -> Mapping[str, int]:
    """Rows of each table that the migrations themselves insert."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'fresh.db'}"
        command.upgrade(migration_config(url), revision)
        with opened(url) as engine, engine.connect() as connection:
            names = set(inspect(connection).get_table_names()) - {"alembic_version"}
            return {name: count_rows(connection, name) for name in names}
