"""Runs the migrations that ship inside the package; no alembic.ini is needed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

MIGRATIONS = Path(__file__).parent / "migrations"


def migration_config(url: str) -> Config:
    """Alembic's configuration for a store."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade_to_head(url: str) -> None:
    """Bring the store to the newest schema; does nothing if it is there already."""
    command.upgrade(migration_config(url), "head")


def downgrade_to(url: str, revision: str) -> None:
    """Bring the store back to ``revision``; ``base`` empties it."""
    command.downgrade(migration_config(url), revision)


def head_revision() -> str | None:
    """The newest revision that this package knows."""
    return ScriptDirectory.from_config(migration_config("")).get_current_head()


def current_revision_of(engine: Engine) -> str | None:
    """The revision the store is at; None when it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
