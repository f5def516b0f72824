"""Hears at once what other API processes committed: LISTEN on PostgreSQL. On SQLite, and for lost news, a scan does it."""

import logging
import threading
from contextlib import suppress

import psycopg
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.db.database import CHANNEL, Change, decode_news
from edgefleet_controller.services import Services

LOG = logging.getLogger(__name__)
RETRY_S = 1.0
LOOK_UP_S = 5.0
"""How often the listener looks whether it is to stop, should the word of it be lost."""


class NewsListener:
    """A thread with a connection of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen_for_ever, name="edgefleet-news", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if not self._thread.is_alive():
            return
        with suppress(SQLAlchemyError), self._services.database.transaction() as connection:
            connection.execute(select(func.pg_notify(CHANNEL, "")))  # ends the wait
        self._thread.join()

    def _listen_for_ever(self) -> None:
        url = make_url(self._services.settings.resolved_database_url).set(drivername="postgresql")
        while not self._stopping.is_set():
            try:
                self._listen(url.render_as_string(hide_password=False))
            except psycopg.Error as err:
                LOG.warning("no news from other processes (%s); the scan finds them, trying again", err)
                self._stopping.wait(RETRY_S)

    def _listen(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            self._services.desk.book.doubt_all()  # what was said before is lost
            self._services.desk.scan()
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=LOOK_UP_S):
                    self.hear(notification.payload)
                    if self._stopping.is_set():
                        return

    def hear(self, payload: str) -> None:
        """Take in a notification, unless it is this process's own."""
        process, changes = decode_news(payload)
        if process == self._services.database.process:
            return
        for change in changes:
            self._take_in(change)

    def _take_in(self, change: Change) -> None:
        if change.topic == "comparison":
            self._services.wakeups.notify(f"comparison:{change.key}")
        else:
            self._services.desk.hear(change)


def listen_for_news(services: Services) -> NewsListener:
    """Listen where the store can tell; elsewhere a listener that does nothing."""
    listener = NewsListener(services)
    if services.database.engine.dialect.name == "postgresql":
        listener.start()
    return listener
