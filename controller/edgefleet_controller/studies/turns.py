"""Asks for a study's next turn: something happened that it has to act upon.

A turn is a number in the study's row, raised in the transaction of what happened. Whoever looks after the studies hands
the engine a task under that number until the row says that it was taken, so no kill loses it and none is done twice.
"""

from sqlalchemy import update
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce
from edgefleet_controller.db.tables import Study

OPEN = ("queued", "running", "waiting", "checking")
"""States in which a study acts when its turn comes."""


def ask_turn(session: Session, study_id: str) -> None:
    """Raise the study's turn; one that has ended takes no more."""
    session.flush()
    session.execute(
        update(Study)
        .where(Study.id == study_id)
        .values(turn=Study.turn + 1, version=Study.version + 1)
        .execution_options(synchronize_session="fetch")
    )
    announce(session, "study", study_id)
