"""What the endpoints work with; made once per process by ``create_app``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from edgefleet_controller.auth.rate_limits import RateLimits
from edgefleet_controller.auth.tokens import TokenSource
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.clock import Clock
from edgefleet_controller.db.database import Database
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.engine.protocol import Engine
from edgefleet_controller.models.inspection import Inspector
from edgefleet_controller.runs.desk import Desk
from edgefleet_controller.settings import Settings
from edgefleet_controller.signing.key_ring import KeyRing
from edgefleet_controller.wakeups import Wakeups


@dataclass(frozen=True)
class Services:
    """Store, files, engine and what lives in memory."""

    settings: Settings
    database: Database
    blobs: BlobStore
    engine: Engine
    clock: Clock
    tokens: TokenSource
    presence: Presence
    wakeups: Wakeups
    inspector: Inspector
    operator_token: str
    rate_limits: RateLimits
    signing_keys: KeyRing
    desk: Desk


def get_services(request: Request) -> Services:
    """The services of the app that answers this request."""
    services: Services = request.app.state.services
    return services


def _read(request: Request) -> Iterator[Session]:
    with get_services(request).database.reading() as session:
        yield session


def _write(request: Request) -> Iterator[Session]:
    with get_services(request).database.writing() as session:
        yield session


ServicesOf = Annotated[Services, Depends(get_services)]
ReadSession = Annotated[Session, Depends(_read, scope="function")]
WriteSession = Annotated[Session, Depends(_write, scope="function")]
"""Commits once, after the endpoint returned and before the response is sent; rolls back on any error."""
