"""Runs the controller on this host: the API process and, beside it, one worker process."""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn

from edgefleet_controller.app import create_app
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.engine.dbos_engine import DbosEngine, prepare_engine_database
from edgefleet_controller.listening import ListeningRefused, require_safe_listening, server_options
from edgefleet_controller.settings import Settings
from edgefleet_controller.store.errors import StoreInUse
from edgefleet_controller.store.locks import data_dir_to_itself
from edgefleet_controller.workers.process import WorkerProcess

log = logging.getLogger(__name__)

LOCAL_WORKER = "local"
"""Name of the worker beside the API; constant, so that a restart resumes its work."""


class ServeError(Exception):
    """The controller could not start; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def serve_controller(settings: Settings, *, with_worker: bool) -> None:
    """Serve until SIGINT or SIGTERM. Migrates the store first; writes ``serve.json`` once it accepts requests."""
    try:
        require_safe_listening(settings)
    except ListeningRefused as err:
        raise ServeError(err.code, err.message) from err
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(settings.data_dir), _listening(settings) as listener:
        upgrade_to_head(settings.resolved_database_url)
        prepare_engine_database(settings.resolved_engine_url)
        engine = DbosEngine(settings.resolved_engine_url)
        app = create_app(settings, engine=engine)
        host, port = listener.getsockname()[:2]
        server = _AnnouncingServer(
            uvicorn.Config(
                app, log_level="warning", access_log=False, timeout_keep_alive=75, **server_options(settings)
            ),
            file=settings.data_dir / "serve.json",
            announcement=_announcement(settings, host, port),
            release_held_requests=app.state.services.wakeups.close,
        )
        worker = WorkerProcess(settings, name=LOCAL_WORKER) if with_worker else None
        try:
            if worker:
                worker.start()
            with _no_second_signal():
                server.run(sockets=[listener])
        finally:
            if worker:
                worker.stop()
            (settings.data_dir / "serve.json").unlink(missing_ok=True)
            engine.close()


class _AnnouncingServer(uvicorn.Server):
    """Tells where it listens once it does, and answers held long polls before it waits for requests to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        file: Path,
        announcement: Mapping[str, object],
        release_held_requests: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._release_held_requests = release_held_requests
        self._file, self._announcement = file, announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(self._announcement))
        partial.replace(self._file)
        token_file = self._file.parent / "operator.token"
        log.info("edgefleet serves at %s; operator token in %s", self._announcement["url"], token_file)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._release_held_requests()
        await super().shutdown(sockets)


@contextmanager
def _no_second_signal() -> Iterator[None]:
    """Uvicorn stops on SIGTERM or SIGINT and then raises the signal again, which would end the process uncleaned."""
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _announcement(settings: Settings, host: str, port: int) -> dict[str, object]:
    """What clients on this host need to find the API."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what was bound, not what is bound
    scheme = "https" if settings.tls_cert is not None else "http"
    url = f"{scheme}://[{local}]:{port}" if ":" in local else f"{scheme}://{local}:{port}"
    ca_file = {"ca_file": str(settings.tls_cert.resolve())} if settings.tls_cert is not None else {}
    return {"url": url, "pid": os.getpid(), **ca_file}


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """One controller for a data directory: SQLite mode is one API process, and both would sweep leases."""
    with ExitStack() as stack:
        try:
            stack.enter_context(data_dir_to_itself(data_dir))
        except StoreInUse as err:
            raise ServeError("already_serving", f"another controller serves from {data_dir}; stop it first") from err
        yield


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as err:
            raise ServeError(
                "address_in_use",
                f"cannot listen on {settings.host}:{settings.port} ({err.strerror}); choose another --port",
            ) from err
        listener.listen(4096)
        yield listener
