"""The declarative base and the kinds of column that several tables have.

Times are aware UTC instants of the controller; figures carry their unit in the column's name. Enumerations are CHECK
constraints, so that no code path can store a provenance or a state that does not exist.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, DateTime, ForeignKey, MetaData
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

from edgefleet_controller.auth import caller
from edgefleet_controller.auth.caller import DEFAULT_PROJECT

JsonObject = dict[str, Any]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite forgets the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Refuse naive instants and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: pass an aware one")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Return an aware UTC instant."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base with named constraints, which migrations on SQLite need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {JsonObject: JSON, list[Any]: JSON, datetime: UtcDateTime}  # noqa: RUF012  # read once by SQLAlchemy


def one_of(column: str, *values: str) -> CheckConstraint:
    """A CHECK that the column holds one of the values (or NULL where it is nullable)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def project_column() -> Any:
    """The project that owns the row: that of the caller who makes it."""
    return mapped_column(
        ForeignKey("projects.id"), index=True, default=caller.project_for_new_rows, server_default=DEFAULT_PROJECT
    )


def creator_column() -> Any:
    """Who made the row: the caller's name, or null."""
    return mapped_column(default=caller.name_for_new_rows)
