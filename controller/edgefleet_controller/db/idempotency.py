"""Idempotency keys: the same request sent twice is answered twice and done once.

After draft-ietf-httpapi-idempotency-key-header-07: same key and body, the stored answer; same key and another body,
422; the first still being answered, 409.
"""

import hashlib
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgefleet_controller.auth.caller import project_for_new_rows
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import IdempotencyKey
from edgefleet_controller.errors import IdempotencyInProgress, IdempotencyKeyReused


def begin_once(session: Session, key: str, operation: str, body: str) -> dict[str, Any] | None:
    """The stored answer if the request was answered before; None if it is now ours to answer, see ``finish_once``."""
    body_sha256, operation = hashlib.sha256(body.encode()).hexdigest(), _within_project(operation)
    stored = session.get(IdempotencyKey, (key, operation))
    if stored is None:
        _reserve(session, key, operation, body_sha256)
        return None
    if stored.body_sha256 != body_sha256:
        raise IdempotencyKeyReused
    return stored.response


def finish_once(session: Session, key: str, operation: str, status: int, response: dict[str, Any]) -> None:
    """Keep the answer for repetitions."""
    stored = session.get_one(IdempotencyKey, (key, _within_project(operation)))
    stored.status, stored.response = status, response
    session.flush()


def _within_project(operation: str) -> str:
    """Keys of one project answer nothing of another's."""
    return f"{operation} {project_for_new_rows()}"


def _reserve(session: Session, key: str, operation: str, body_sha256: str) -> None:
    row = IdempotencyKey(
        key=key, operation=operation, body_sha256=body_sha256, status=0, response={}, created_at=now_of(session)
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as err:  # PostgreSQL: the first request committed while this one waited for its row
        raise IdempotencyInProgress from err
