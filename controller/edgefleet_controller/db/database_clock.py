"""The clock that all processes of a site share: the database's."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import now_of


def database_now(session: Session) -> datetime:
    """The present instant by the database's own clock, where several hosts share one; on SQLite the session's clock."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)
    return now_of(session)
