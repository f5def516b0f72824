"""Who is making what: a candidate or an artifact that several variants need at the same moment is made once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import Database, now_of
from edgefleet_controller.db.tables import StepClaim, Worker


class StepClaims:
    """The claims of one worker. A claim ends with its worker, so a dead one blocks nobody."""

    def __init__(self, database: Database, incarnation: str) -> None:
        self._database = database
        self._incarnation = incarnation

    @asynccontextmanager
    async def held(self, key_sha256: str, variant_id: str) -> AsyncIterator[bool]:
        """Claim the work with this key for the variant; False while a live worker makes it for another variant."""
        is_mine = await asyncio.to_thread(self._take, key_sha256, variant_id)
        try:
            yield is_mine
        finally:
            if is_mine:
                await asyncio.to_thread(self._release, key_sha256, variant_id)

    def _take(self, key_sha256: str, variant_id: str) -> bool:
        with self._database.writing() as session:
            return self._take_in(session, key_sha256, variant_id)

    def _take_in(self, session: Session, key_sha256: str, variant_id: str) -> bool:
        values = {
            "key_sha256": key_sha256,
            "variant_id": variant_id,
            "incarnation": self._incarnation,
            "claimed_at": now_of(session),
        }
        dialect = session.get_bind().dialect.name
        insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        session.execute(insert(StepClaim).values(**values).on_conflict_do_nothing())
        claim = session.scalar(select(StepClaim).where(StepClaim.key_sha256 == key_sha256).with_for_update())
        assert claim is not None
        if claim.variant_id != variant_id and self._is_alive(session, claim.incarnation):
            return False
        claim.variant_id, claim.incarnation = variant_id, self._incarnation
        return True

    def _is_alive(self, session: Session, incarnation: str) -> bool:
        query = select(Worker.name).where(Worker.incarnation == incarnation, Worker.state == "active")
        return session.scalar(query) is not None

    def _release(self, key_sha256: str, variant_id: str) -> None:
        mine = (StepClaim.key_sha256 == key_sha256, StepClaim.variant_id == variant_id)
        with self._database.writing() as session:
            session.execute(delete(StepClaim).where(*mine, StepClaim.incarnation == self._incarnation))
