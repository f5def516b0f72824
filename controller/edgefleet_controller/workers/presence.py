"""A worker's own row: it registers under a stable name, says that it lives, and ends itself when it is no longer believed."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version

from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.db.database import Database
from edgefleet_controller.db.database_clock import database_now
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Worker
from edgefleet_controller.workers import repository

EXIT_FENCED = 71
"""Exit status of a worker whose work was given to another one."""

log = logging.getLogger(__name__)


class WorkerNameTaken(Exception):
    """A worker of this name lives on another host; give this one another name."""

    code = "worker_name_taken"


class WorkerPresence:
    """One start of a worker in the store."""

    def __init__(self, database: Database, name: str, queues: tuple[str, ...], *, timeout_s: float) -> None:
        self._database = database
        self._name = name
        self._queues = queues
        self._timeout = timedelta(seconds=timeout_s)
        self.incarnation = new_id("wrk")

    def register(self) -> None:
        """Take the name, before any task is taken under it; waits while a leader gives this name's work to others.

        A process of this name that still runs on this host is taken for dead: its supervisor started this one. Raises
        WorkerNameTaken while one lives on another host.
        """
        host = socket.gethostname()
        with self._database.writing() as session:
            now = database_now(session)
            row = repository.find_locked(session, self._name)
            if row is None:
                row = Worker(name=self._name, started_at=now)
                session.add(row)
            elif row.state == "active" and row.host != host and row.heartbeat_at > now - self._timeout:
                raise WorkerNameTaken(
                    f"A worker called {self._name!r} lives on {row.host}. Give this one another name with --name, or wait "
                    f"{self._timeout.total_seconds():g} s if that one was ended."
                )
            row.incarnation, row.state, row.queues, row.host = self.incarnation, "active", list(self._queues), host
            row.version, row.started_at, row.heartbeat_at = version("edgefleet"), now, now

    def beat(self) -> bool:
        """Say that it lives; False when it is not believed any more."""
        with self._database.writing() as session:
            return repository.beat(session, self.incarnation, database_now(session))

    def leave(self, hand_over: Callable[[str], object]) -> None:
        """Give what is left of its work to others; ``hand_over`` gets the worker's name."""
        with self._database.writing() as session:
            row = repository.find_locked(session, self._name)
            if row is not None and row.incarnation == self.incarnation and row.state == "active":
                hand_over(self._name)
                row.state = "stopped"


def beat_until(stop: threading.Event, presence: WorkerPresence, interval_s: float) -> None:
    """Say that it lives every ``interval_s`` seconds; ends the whole process once its work belongs to another worker.

    At once and without cleaning up: child processes end by the end of their standard input, and nothing that this
    process could still write is wanted.
    """
    while not stop.wait(interval_s):
        try:
            is_believed = presence.beat()
        except SQLAlchemyError:
            log.warning("the heartbeat was not stored; it is tried again in %g s", interval_s, exc_info=True)
            continue
        if not is_believed:
            log.error("this worker was silent for too long and others have its work; it ends now")
            logging.shutdown()
            os._exit(EXIT_FENCED)
