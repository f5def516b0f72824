"""Alembic's entry: connects to the URL it was given and runs the migrations in one transaction."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from edgefleet_controller.db.database import create_database_engine
from edgefleet_controller.db.tables import Base, UtcDateTime


def render_item(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write our column type as SQLAlchemy's own, so that an old migration never needs today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run_migrations() -> None:
    """Run against the store; batch mode lets SQLite alter tables."""
    engine = create_database_engine(context.config.attributes["url"])
    try:
        with engine.connect() as connection:
            is_sqlite = connection.dialect.name == "sqlite"
            if is_sqlite:
                _let_tables_be_made_again(connection)
            with connection.begin():
                context.configure(
                    connection=connection,
                    target_metadata=Base.metadata,
                    render_as_batch=True,
                    render_item=render_item,
                    compare_type=True,
                )
                context.run_migrations()
                if is_sqlite:
                    _require_whole_references(connection)
    finally:
        engine.dispose()


def _let_tables_be_made_again(connection: Connection) -> None:
    """Do not check references meanwhile: SQLite alters a table by dropping it, which would count as deleting its rows.

    The pragma does nothing inside a transaction, so it goes past SQLAlchemy, which would begin one
    (https://www.sqlite.org/lang_altertable.html, section 7).
    """
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    cursor.close()


def _require_whole_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration would leave {len(broken)} references to rows that are gone: {broken[:3]}")


run_migrations()
