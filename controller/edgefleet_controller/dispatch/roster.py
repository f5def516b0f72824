"""The devices as this process remembers them: credentials, state, and what they can do."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device
from edgefleet_controller.dispatch.windows import OneOff, Weekly, closed_until, parse_windows

OVERLAP = timedelta(seconds=30)
"""A look for changes begins so much before the one before: transactions commit in another order than they begin, and the
clocks of two hosts differ."""


BATCH = 500


@dataclass(frozen=True, slots=True)
class Card:
    """What dispatch needs to know of a device."""

    id: str
    name: str
    kind: str
    state: str
    version: int
    changed_at: datetime | None
    project_id: str
    facts_sha256: str | None
    boards: frozenset[str] = frozenset()
    runtimes: frozenset[tuple[str, str]] = frozenset()
    """name and version"""

    labels: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    has_sensor: bool = False
    is_reserved: bool = False
    windows: tuple[OneOff | Weekly, ...] = ()
    rests_until: datetime | None = None
    last_artifact_sha256: str | None = None
    cool_down_s: float = 0.0
    failures: tuple[Mapping[str, Any], ...] = ()
    credential_sha256: str | None = None
    previous_credential_sha256: str | None = None
    previous_credential_until: datetime | None = None
    renewable_since: datetime | None = None
    """when its credential was issued; None where it has no key to prove itself with, and so cannot renew it"""

    def is_free(self, now: datetime) -> bool:
        """Whether it may be given a run now, as far as its state, its cool-down and its windows go."""
        if self.state != "active" or (self.rests_until is not None and now < self.rests_until):
            return False
        return not self.windows or closed_until(self.windows, now) is None

    def may_enter(self, sha256: str, now: datetime) -> bool:
        """Whether this is its credential, or the one before within the overlap of a rotation."""
        if self.state == "revoked":
            return False
        if sha256 == self.credential_sha256:
            return True
        until = self.previous_credential_until
        return sha256 == self.previous_credential_sha256 and until is not None and now < until


def boards_of(board: str, facts: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> frozenset[str]:
    """Kinds of board that a device is: its own, and that of an accelerator plugged into it."""
    found = facts or {}
    merged = {**(found.get("labels") or {}), **(labels or {})}
    kinds = (board, found.get("board"), merged.get("accelerator"))
    return frozenset(kind for kind in kinds if isinstance(kind, str))


def card_of(device: Device) -> Card:
    """The card of a device's row."""
    facts: Mapping[str, Any] = device.facts or {}
    return Card(
        id=device.id,
        name=device.name,
        kind=device.kind,
        state=device.state,
        version=device.version,
        changed_at=device.changed_at,
        project_id=device.project_id,
        facts_sha256=device.facts_sha256,
        boards=boards_of(device.board, facts, device.labels),
        runtimes=frozenset((str(item.get("name")), str(item.get("version"))) for item in facts.get("runtimes") or ()),
        labels={**(facts.get("labels") or {}), **(device.labels or {})},
        memory_bytes=int(facts.get("memory_bytes") or 0),
        has_sensor=bool(facts.get("sensors")),
        is_reserved=device.is_reserved,
        windows=parse_windows(device.windows),
        rests_until=device.rests_until,
        last_artifact_sha256=device.last_artifact_sha256,
        cool_down_s=device.cool_down_s,
        failures=tuple(device.failures or ()),
        credential_sha256=device.credential_sha256,
        previous_credential_sha256=device.previous_credential_sha256,
        previous_credential_until=device.previous_credential_until,
        renewable_since=device.credential_issued_at if device.public_key is not None else None,
    )


class Roster:
    """Cards by device and by credential. A device that is not here may still be in the store: ``fetch`` it."""

    def __init__(self) -> None:
        self._cards: dict[str, Card] = {}
        self._by_credential: dict[str, str] = {}
        self._lock = threading.Lock()
        self._looked_at: datetime | None = None

    def get(self, device_id: str) -> Card | None:
        """The device's card."""
        return self._cards.get(device_id)

    def of_credential(self, sha256: str, now: datetime) -> Card | None:
        """The device that this credential lets in."""
        card = self._cards.get(self._by_credential.get(sha256, ""))
        return card if card is not None and card.may_enter(sha256, now) else None

    def cards(self) -> list[Card]:
        """All cards."""
        return list(self._cards.values())

    def put(self, card: Card) -> None:
        """Remember this, unless a newer version is known already."""
        with self._lock:
            known = self._cards.get(card.id)
            if known is not None and known.version > card.version:
                return
            self._cards[card.id] = card
            for sha256 in (card.credential_sha256, card.previous_credential_sha256):
                if sha256 is not None:
                    self._by_credential[sha256] = card.id
            for sha256 in _ended_credentials(known, card):
                self._by_credential.pop(sha256, None)

    def fetch(self, session: Session, device_ids: Collection[str]) -> None:
        """Read these devices from the store."""
        for device in session.scalars(_fresh().where(Device.id.in_(device_ids))):
            self.put(card_of(device))

    def fetch_by_credential(self, session: Session, sha256: str, now: datetime) -> Card | None:
        """The same for the device of a credential, which may have enrolled at another process a moment ago."""
        either = or_(Device.credential_sha256 == sha256, Device.previous_credential_sha256 == sha256)
        device = session.scalar(_fresh().where(either))
        if device is None:
            return None
        card = card_of(device)
        self.put(card)
        return card if card.may_enter(sha256, now) else None

    def refresh(self, session: Session, now: datetime) -> list[str]:
        """Read what changed since the last look, the first time everything; identifiers of devices that changed."""
        query = select(Device.id, Device.version, Device.changed_at)
        if self._looked_at is not None:
            query = query.where(Device.changed_at >= self._looked_at - OVERLAP)
        changed = [row.id for row in session.execute(query) if not self._knows(row.id, row.version, row.changed_at)]
        for start in range(0, len(changed), BATCH):
            self.fetch(session, changed[start : start + BATCH])
        self._looked_at = now
        return changed

    def _knows(self, device_id: str, version: int, changed_at: datetime | None) -> bool:
        card = self._cards.get(device_id)
        return card is not None and (card.version, card.changed_at) == (version, changed_at)


def _fresh() -> Any:
    return select(Device).execution_options(populate_existing=True)


def _ended_credentials(known: Card | None, card: Card) -> set[str]:
    if known is None:
        return set()
    valid = {card.credential_sha256, card.previous_credential_sha256}
    return {
        sha256
        for sha256 in (known.credential_sha256, known.previous_credential_sha256)
        if sha256 is not None and sha256 not in valid
    }
