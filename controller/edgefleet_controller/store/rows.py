"""Reads and writes whole tables the same way on every back end, and tells whether two copies are equal.

JSON travels as the text that is stored, so that neither the order of keys nor the form of a number changes.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Text,
    TextClause,
    bindparam,
    cast,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.types import TypeEngine

from edgefleet_controller.db.tables import UtcDateTime
from edgefleet_controller.store.shapes import ColumnShape, Kind, TableShape

BATCH_ROWS = 500
Row = Sequence[Any]

_TYPE_OF: dict[Kind, type[TypeEngine[Any]]] = {
    "text": Text,
    "integer": Integer,
    "float": Float,
    "boolean": Boolean,
    "datetime": UtcDateTime,
    "json": Text,
    "bytes": LargeBinary,
}
_ENCODE: dict[Kind, Callable[[Any], Any]] = {
    "datetime": lambda value: value.isoformat(),
    "bytes": lambda value: base64.b64encode(value).decode("ascii"),
}
_DECODE: dict[Kind, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "bytes": base64.b64decode,
}


def read_rows(connection: Connection, shape: TableShape) -> Iterator[Row]:
    """All rows of a table, in no certain order, read as they are taken."""
    wanted = [_readable(item) for item in shape.columns]
    statement = select(*wanted).select_from(table(shape.name)).execution_options(yield_per=BATCH_ROWS)
    for row in connection.execute(statement):
        yield tuple(row)


def write_rows(connection: Connection, shape: TableShape, rows: Iterable[Row]) -> int:
    """Insert the rows in batches; returns their number."""
    statement = _insertion(connection, shape)
    names = [f"v{position}" for position in range(len(shape.columns))]
    remaining, n_rows = iter(rows), 0
    while batch := [dict(zip(names, row, strict=True)) for row in islice(remaining, BATCH_ROWS)]:
        connection.execute(statement, batch)
        n_rows += len(batch)
    return n_rows


def count_rows(connection: Connection, name: str) -> int:
    """How many rows a table has."""
    return connection.execute(select(func.count()).select_from(table(name))).scalar_one()


def encode_row(shape: TableShape, row: Row) -> str:
    """The row as one line of JSON, the same on every back end."""
    return json.dumps(
        [_convert(_ENCODE, item, value) for item, value in zip(shape.columns, row, strict=True)],
        ensure_ascii=True,
        separators=(",", ":"),
    )


def decode_row(shape: TableShape, line: str) -> Row:
    """The row of a line; ValueError if it is none."""
    values = json.loads(line)
    if not isinstance(values, list) or len(values) != len(shape.columns):
        raise ValueError(f"a row of {shape.name} needs {len(shape.columns)} values")
    return tuple(_convert(_DECODE, item, value) for item, value in zip(shape.columns, values, strict=True))


@dataclass(frozen=True)
class TableDigest:
    """What two equal copies of a table share: the number of rows, and a sum over their hashes, in whatever order."""

    name: str
    n_rows: int
    checksum: str


class Digesting:
    """Passes encoded rows on and sums up their SHA-256, modulo 2**256; the order of rows differs between back ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._n_rows = 0
        self._sum = 0

    def add(self, line: str) -> None:
        """Count one encoded row."""
        self._n_rows += 1
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(line.encode()).digest(), "big")) % 2**256

    def digest(self) -> TableDigest:
        """The digest of the rows so far."""
        return TableDigest(self._name, self._n_rows, f"{self._sum:064x}")


def digest_table(connection: Connection, shape: TableShape) -> TableDigest:
    """The digest of a stored table."""
    digesting = Digesting(shape.name)
    for row in read_rows(connection, shape):
        digesting.add(encode_row(shape, row))
    return digesting.digest()


def set_sequences(connection: Connection, shapes: Iterable[TableShape]) -> None:
    """Let PostgreSQL number new rows after the copied ones; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    for shape in shapes:
        for item in (item for item in shape.columns if item.kind == "integer"):
            find = text("SELECT pg_get_serial_sequence(:table, :column)")
            sequence = connection.execute(find, {"table": quote(shape.name), "column": item.name}).scalar()
            if sequence is not None:
                largest = f"(SELECT max({quote(item.name)}) FROM {quote(shape.name)})"  # noqa: S608  # our own names
                connection.execute(
                    text(f"SELECT setval(:sequence, coalesce({largest}, 1), {largest} IS NOT NULL)"),
                    {"sequence": sequence},
                )


def _readable(item: ColumnShape) -> Any:
    stored = column(item.name, _TYPE_OF[item.kind]())
    return cast(stored, Text) if item.kind == "json" else stored


def _insertion(connection: Connection, shape: TableShape) -> TextClause:
    quote = connection.dialect.identifier_preparer.quote
    # SQLite keeps JSON as text and would turn a cast to JSON into a number
    form = {"json": "CAST({} AS JSON)"} if connection.dialect.name == "postgresql" else {}
    values = [form.get(item.kind, "{}").format(f":v{position}") for position, item in enumerate(shape.columns)]
    names = ", ".join(quote(item.name) for item in shape.columns)
    statement = f"INSERT INTO {quote(shape.name)} ({names}) VALUES ({', '.join(values)})"  # noqa: S608  # our own names
    return text(statement).bindparams(
        *(bindparam(f"v{position}", type_=_TYPE_OF[item.kind]()) for position, item in enumerate(shape.columns))
    )


def _convert(how: dict[Kind, Callable[[Any], Any]], item: ColumnShape, value: Any) -> Any:
    return how[item.kind](value) if value is not None and item.kind in how else value
