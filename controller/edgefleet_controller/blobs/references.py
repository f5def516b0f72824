"""Which stored files are still named somewhere. Every text and JSON column of every table is looked through, so that a
new column cannot be forgotten: whatever holds a file's full hash keeps the file.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, cast, func, literal_column, not_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import true

from edgefleet_controller.db.tables import Base, Blob, BlobOwner, Result
from edgefleet_controller.store.shapes import kind_of

NOT_REFERENCES: Collection[str] = (Blob.__tablename__, BlobOwner.__tablename__)
"""The files' own rows, and who sent them: neither is a use."""
BATCH_ROWS = 1000
_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class References:
    """``kept``: hashes named by something; ``expired``: those that only results past their retention name."""

    kept: frozenset[str]
    expired: frozenset[str]


def find_references(session: Session, wanted: Collection[str], results_before: datetime | None) -> References:
    """Which of the wanted files are named; results from before that moment no longer keep their samples."""
    is_old = Result.created_at < results_before if results_before is not None else not_(true())
    kept, left = set[str](), set(wanted)
    for table in referring_tables():
        where = not_(is_old) if table is Result.__table__ else true()
        found = _named(session, table, left, where)
        kept |= found
        left -= found
    expired = _named(session, Base.metadata.tables[Result.__tablename__], left, is_old)
    return References(frozenset(kept), frozenset(expired))


def referring_tables() -> Sequence[Table]:
    """All tables whose rows keep the files that they name."""
    return [table for table in Base.metadata.sorted_tables if table.name not in NOT_REFERENCES]


def searched_columns(table: Table) -> Sequence[ColumnElement[Any]]:
    """Columns that could hold a hash."""
    return [column for column in table.columns if kind_of(column) in ("text", "json")]


def _named(session: Session, table: Table, wanted: Collection[str], where: ColumnElement[bool]) -> set[str]:
    return {sha256 for sha256 in _hashes(session, table, where) if sha256 in wanted} if wanted else set()


def _hashes(session: Session, table: Table, where: ColumnElement[bool]) -> Iterator[str]:
    texts: list[ColumnElement[str]] = [func.coalesce(cast(column, Text), "") for column in searched_columns(table)]
    joined = texts[0]
    for part in texts[1:]:
        joined = joined.concat(literal_column("' '")).concat(part)
    query = select(joined).select_from(table).where(where).execution_options(yield_per=BATCH_ROWS)
    for text in session.connection().execute(query).scalars():
        yield from _HASH.findall(text)
