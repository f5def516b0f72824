"""``edgefleet backup``, ``restore`` and ``store``: the store as a whole, on the machine it lies on.

SQLAlchemy is loaded by the commands that need it, so that all others begin in half the time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgefleet_controller.cli.output import console, fail, print_json, print_table
from edgefleet_controller.cli.server import DataDir, read_settings
from edgefleet_controller.cli.session import JsonOption
from edgefleet_controller.clock import SystemClock
from edgefleet_controller.settings import Settings
from edgefleet_controller.store.errors import StoreError

if TYPE_CHECKING:
    from edgefleet_controller.store.backup import StorePlaces

store_app = typer.Typer(no_args_is_help=True, help="Move the store between back ends, and collect its garbage.")


@store_app.command("move")
def move(
    to: Annotated[
        str,
        typer.Option(
            help="An empty database, as postgresql+psycopg://user@host/name; a password may come from PGPASSWORD.",
            envvar="EDGEFLEET_MOVE_TO",
        ),
    ],
    data_dir: DataDir = None,
    as_json: JsonOption = False,
) -> None:
    """Copy an SQLite store into PostgreSQL and compare the two; the controller must not run. Nothing is deleted."""
    from edgefleet_controller.store.locks import data_dir_to_itself
    from edgefleet_controller.store.moving import move_store

    settings = read_settings(data_dir)
    with _reported(), data_dir_to_itself(settings.data_dir):
        moved = move_store(settings.resolved_database_url, to)
    if as_json:
        tables = [{"name": item.name, "n_rows": item.n_rows, "checksum": item.checksum} for item in moved.tables]
        print_json({"tables": tables, "n_requeued_jobs": moved.n_requeued_jobs})
        return
    rows = [(item.name, item.n_rows, item.n_rows, item.checksum[:16]) for item in moved.tables]
    print_table(("table", "rows read", "rows written", "checksum of both"), rows)
    console.print(
        f"Every table was compared. {moved.n_requeued_jobs} running jobs will be begun again from their cached steps.\n"
        "From now on start controller and workers with EDGEFLEET_DATABASE_URL set to the new database; files and tokens "
        "stay in the data directory. The SQLite file is as it was: keep it until you are content, and do not serve it."
    )


@store_app.command("gc")
def collect_garbage(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    data_dir: DataDir = None,
    as_json: JsonOption = False,
) -> None:
    """Remove stored files that nothing names and raw samples past their retention; the controller may run."""
    from edgefleet_controller.blobs.garbage import Rules, collect
    from edgefleet_controller.blobs.opening import open_blob_store
    from edgefleet_controller.db.database import Database

    settings = read_settings(data_dir)
    database = Database.from_url(settings.resolved_database_url)
    try:
        collected = collect(database, open_blob_store(settings), Rules.from_settings(settings), dry_run=dry_run)
    finally:
        database.dispose()
    if as_json:
        print_json(asdict(collected) | {"dry_run": dry_run})
        return
    amounts = (
        ("named by nothing", collected.unreferenced),
        ("raw samples past their retention", collected.expired),
        ("left by killed processes", collected.unrecorded),
    )
    rows = [(what, amount.n_files, f"{amount.size_bytes:,}") for what, amount in amounts]
    print_table(("would be removed" if dry_run else "removed", "files", "bytes"), rows)


def backup(
    path: Annotated[Path, typer.Argument(help="A file that does not exist yet, or a folder to put one into.")],
    data_dir: DataDir = None,
    as_json: JsonOption = False,
) -> None:
    """Save database, files, tokens and keys to one file; the controller may run meanwhile."""
    from edgefleet_controller.store.backup import back_up

    settings, now = read_settings(data_dir), SystemClock().now()
    if path.is_dir():
        path = path / f"edgefleet-{now:%Y%m%dT%H%M%SZ}.tar"
    with _reported():
        saved = back_up(_places(settings), path.absolute(), now)
    if as_json:
        print_json(
            {
                "path": saved.path,
                "manifest_sha256": saved.manifest_sha256,
                "n_rows": saved.n_rows,
                "n_blobs": saved.n_blobs,
                "blob_bytes": saved.blob_bytes,
                "n_files": saved.n_files,
                "absent_blobs": saved.absent_blobs,
            }
        )
    else:
        console.print(
            f"{saved.path}: {saved.n_rows:,} rows, {saved.n_blobs:,} stored files ({saved.blob_bytes:,} bytes), "
            f"{saved.n_files:,} other files. Manifest {saved.manifest_sha256}.\n"
            "It holds the operator token and keys: only you can read it (mode 0600); keep it that way.",
            markup=False,
        )
    if saved.absent_blobs:
        named = ", ".join(saved.absent_blobs[:3])
        fail(
            "blobs_absent",
            f"{len(saved.absent_blobs)} files were missing or damaged in the store, such as {named}; the rest was saved",
        )


def restore_backup(
    path: Annotated[Path, typer.Argument(help="A file that 'edgefleet backup' wrote.")],
    data_dir: DataDir = None,
) -> None:
    """Bring a backup back into an empty data directory, and into $EDGEFLEET_DATABASE_URL if that is set."""
    from edgefleet_controller.store.restoring import restore

    settings = read_settings(data_dir)
    with _reported():
        restored = restore(path, _places(settings))
    manifest = restored.manifest
    console.print(
        f"Restored the {manifest.back_end} store of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{sum(table.n_rows for table in manifest.tables):,} rows, {restored.n_blobs:,} stored files, "
        f"{restored.n_files:,} other files, all compared with the manifest. "
        f"{restored.n_requeued_jobs} running jobs will be begun again.\nStart it with: edgefleet serve --data-dir {settings.data_dir}",
        markup=False,
    )


def _places(settings: Settings) -> "StorePlaces":
    from edgefleet_controller.blobs.opening import open_blob_store
    from edgefleet_controller.store.backup import StorePlaces

    return StorePlaces(settings.data_dir, settings.resolved_database_url, open_blob_store(settings))


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except StoreError as err:
        fail(err.code, err.message)
