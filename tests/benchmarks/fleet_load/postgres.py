"""A PostgreSQL of the bench's own on loopback, which can be killed and started again."""

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
from pathlib import Path
from typing import Any

import psycopg

START_TIMEOUT_S = 60.0


class PostgresMissing(Exception):
    """PostgreSQL's server programs are not installed."""


class PostgresServer:
    """One server in a folder of its own; as root it runs as ``nobody``, because PostgreSQL refuses root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binaries = find_binaries()
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._password = uuid.uuid4().hex
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._initialise()

    @property
    def url(self) -> str:
        """URL of the server without a database's name."""
        return f"postgresql://edgefleet:{self._password}@127.0.0.1:{self._port}"

    def create_database(self) -> str:
        """A fresh database; returns its URL."""
        name = f"fleet_{uuid.uuid4().hex}"
        with psycopg.connect(f"{self.url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"{self.url}/{name}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder)]
        command += ["-h", "127.0.0.1", "-p", str(self._port), "-c", "max_connections=200"]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._user)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(f"{self.url}/postgres").close()
            except psycopg.OperationalError as err:
                if self._server.poll() is not None or time.monotonic() > deadline_s:
                    log_text = (self._folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL did not start:\n{log_text}") from err
                time.sleep(0.05)  # it offers nothing to wait on
            else:
                return

    def kill(self) -> None:
        """kill -9 of the server and of all its children, as a power cut would end them."""
        if self._server is None:
            return
        children = _children_of(self._server.pid)
        self._server.kill()
        self._server.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._server = None

    def stop(self) -> None:
        """End it at once; nothing of it is kept."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait()
            self._server = None

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(self._password)
        for path in (self._folder, password):
            os.chown(path, self._user.get("user", -1), self._user.get("group", -1))
        command = [str(self._binaries / "initdb"), "-D", str(self._folder / "data"), "-A", "scram-sha-256"]
        command += ["-U", "edgefleet", "-E", "UTF8", "--locale=C", f"--pwfile={password}", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder, **self._user)


def find_binaries() -> Path:
    """Folder of initdb and postgres; PostgresMissing if there is none."""
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    for folder in [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *on_path]:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder.resolve()
    raise PostgresMissing("no initdb in /usr/lib/postgresql/*/bin or on PATH: install PostgreSQL")


@contextmanager
def postgres_running() -> Iterator[PostgresServer]:
    """A started server in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="edgefleet-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []
