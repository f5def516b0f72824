"""Whether anybody may have written into the store since the last look: one small question instead of many looks in vain."""

from typing import Any, Final

from sqlalchemy import Engine

_QUESTIONS: Final = {
    # changes when another connection, of whatever process, has committed (sqlite.org/pragma.html#pragma_data_version)
    "sqlite": "PRAGMA data_version",
    # the horizons and the running transactions: one that ends leaves the list or raises xmax (PostgreSQL 13 and later,
    # "System Information Functions"). It is the whole server's, so it also changes when another database is written
    "postgresql": "SELECT pg_current_snapshot()::text",
}


class WriteWatch:
    """Holds a connection of its own, which writes nothing. Not to be used by two threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._question = _QUESTIONS[engine.dialect.name]
        self._connection: Any = None
        self._n_connected = 0

    def mark(self) -> str:
        """A word that stays the same as long as nobody commits; it may change without a reason, never the other way round.

        What was committed before this call is visible to whoever looks after it. Raises the driver's error when the store
        cannot be reached; the next call connects again.
        """
        if self._connection is None:
            self._connect()
        try:
            cursor = self._connection.cursor()
            try:
                cursor.execute(self._question)
                (found,) = cursor.fetchone()
            finally:
                cursor.close()
        except Exception:
            self.close()
            raise
        return f"{self._n_connected} {found}"  # SQLite counts for each connection on its own

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        connection = self._engine.raw_connection()
        connection.detach()  # it is not the pool's any more, and closing it really does
        if self._engine.dialect.name == "postgresql":
            driver: Any = connection.dbapi_connection
            driver.autocommit = True
        self._connection = connection
        self._n_connected += 1
