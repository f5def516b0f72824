"""Tables as a copy sees them: columns of a few kinds, without today's classes, so that an old backup can be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, String, Table
from sqlalchemy.types import JSON, DateTime, TypeDecorator, TypeEngine

from edgefleet_controller.db.tables import Base

Kind = Literal["text", "integer", "float", "boolean", "datetime", "json", "bytes"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_TYPES: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (DateTime, "datetime"),
    (JSON, "json"),
    (Boolean, "boolean"),
    (Integer, "integer"),
    (Float, "float"),
    (LargeBinary, "bytes"),
    (String, "text"),
)


@dataclass(frozen=True)
class ColumnShape:
    """A column's name and what its values are."""

    name: str
    kind: Kind

    def __post_init__(self) -> None:
        """Refuse what no copy could read."""
        if self.kind not in KINDS or not self.name:
            raise ValueError(f"column {self.name!r} of the unknown kind {self.kind!r}; known are {', '.join(KINDS)}")


@dataclass(frozen=True)
class TableShape:
    """A table's name and columns, in the order in which its rows are written."""

    name: str
    columns: tuple[ColumnShape, ...]


def declared_shapes() -> Sequence[TableShape]:
    """All declared tables; one that refers to another comes after it."""
    return [_shape_of(table) for table in Base.metadata.sorted_tables]


def _shape_of(table: Table) -> TableShape:
    return TableShape(table.name, tuple(ColumnShape(column.name, kind_of(column)) for column in table.columns))


def kind_of(column: Column[Any]) -> Kind:
    """What the column's values are; TypeError for a type that nobody taught to copy."""
    declared: TypeEngine[Any] = column.type
    while isinstance(declared, TypeDecorator):
        declared = declared.impl_instance
    for known, kind in _TYPES:
        if isinstance(declared, known):
            return kind
    raise TypeError(
        f"no copy knows the type {column.type!r} of {column.table.name}.{column.name}; teach store/shapes.py"
    )
