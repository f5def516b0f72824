"""Alembic's entry: connects to the URL it was given and runs the migrations in one transaction."""

from typing import Any, Literal

from alembic import context

from edgefleet_controller.db.database import create_database_engine
from edgefleet_controller.db.tables import Base, UtcDateTime


def render_item(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write our column type as SQLAlchemy's own, so that an old migration never needs today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run_migrations() -> None:
    """Run against the store; batch mode lets SQLite alter tables."""
    engine = create_database_engine(context.config.attributes["url"])
    try:
        with engine.begin() as connection:
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=True,
                render_item=render_item,
                compare_type=True,
            )
            context.run_migrations()
    finally:
        engine.dispose()


run_migrations()
