"""Stores for the tests: SQLite, and PostgreSQL from a server that the tests start where it is installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.db.tables import Base


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating costs more than most tests."""
    path = tmp_path_factory.mktemp("template") / "edgefleet.db"
    upgrade_to_head(f"sqlite:///{path}")
    return path


@dataclass(frozen=True)
class PostgresServer:
    """A server of our own on loopback, with one migrated database."""

    url: str
    migrated_url: str

    def create_database(self) -> str:
        """A fresh database; returns its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(f"{self.url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{self.url}/{name}"

    def empty_migrated(self) -> str:
        """The migrated database as it is new; a tenth of the cost of a database for each test."""
        emptied = "; ".join(f"DELETE FROM {table}" for table in Base.metadata.tables)
        with psycopg.connect(self.migrated_url) as connection:
            connection.execute("SET session_replication_role = replica")  # no foreign keys or triggers, so in any order
            connection.execute(emptied.encode())  # costs a fifth of TRUNCATE where there are few rows
            connection.execute("SELECT setval(sequencename::regclass, start_value, false) FROM pg_sequences")
            connection.execute("INSERT INTO projects VALUES ('prj_default', 'default', '2026-01-01')")
        return self.migrated_url


def _postgres_binaries() -> Path | None:
    for folder in [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *map(Path, _path_folders())]:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder.resolve()
    return None


def _path_folders() -> list[str]:
    return os.environ.get("PATH", "").split(os.pathsep)


def _server_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; there it runs as nobody."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def _postgres_running(binaries: Path, folder: Path) -> Iterator[str]:
    options, password = _server_user(), uuid.uuid4().hex
    (folder / "password").write_text(password)
    for path in (folder, folder / "password"):
        os.chown(path, options.get("user", -1), options.get("group", -1))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    initdb = [
        str(binaries / "initdb"),
        "-D",
        str(folder / "data"),
        "-A",
        "scram-sha-256",
        "-U",
        "edgefleet",
        "-E",
        "UTF8",
    ]
    initdb += ["--locale=C", f"--pwfile={folder / 'password'}", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **options)
    command = [
        str(binaries / "postgres"),
        "-D",
        str(folder / "data"),
        "-k",
        str(folder),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-F",
    ]
    command += ["-c", "max_connections=200"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **options) as server,
    ):
        url = f"postgresql://edgefleet:{password}@127.0.0.1:{port}"
        try:
            _wait_for_postgres(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # immediate: nothing of it is kept


def _wait_for_postgres(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"{url}/postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)  # it offers nothing to wait on
        else:
            return


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server started by the tests; skipped where PostgreSQL is not installed."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no initdb in /usr/lib/postgresql/*/bin or on PATH)")
    folder = Path(tempfile.mkdtemp(prefix="edgefleet-pg-"))
    try:
        with _postgres_running(binaries, folder) as url:
            migrated_url = PostgresServer(url, "").create_database()
            upgrade_to_head(migrated_url)
            yield PostgresServer(url, migrated_url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, migrated_sqlite: Path) -> str:
    """A migrated, empty store on each back end."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir(exist_ok=True)
        return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'data' / 'edgefleet.db')}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.empty_migrated()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store without tables on each back end."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database()
