"""The models' SQL."""

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Model
from edgefleet_controller.pagination import PageRequest, fetch_page


def add(session: Session, model: Model) -> None:
    """Insert the row now."""
    session.add(model)
    session.flush()


def find(session: Session, name_or_id: str) -> Model | None:
    """The model with this identifier, else the newest of this name."""
    query = select(Model).where(or_(Model.id == name_or_id, Model.name == name_or_id))
    return session.scalar(query.order_by((Model.id == name_or_id).desc(), Model.id.desc()).limit(1))


def page_of_models(session: Session, page: PageRequest) -> tuple[list[Model], str | None]:
    """Models, newest first."""
    return fetch_page(session, select(Model), Model.id, page)
