"""``edgefleet serve``, ``worker`` and ``demo``."""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from edgefleet_agent.wire.log_lines import configure_logging
from edgefleet_controller.cli.output import EXIT_USAGE, fail
from edgefleet_controller.settings import Settings

DataDir = Annotated[Path | None, typer.Option(help="Database, blobs and token; default: $EDGEFLEET_HOME.")]


def serve(
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback unless you say otherwise.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate with its chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate, PEM.")] = None,
    behind_proxy: Annotated[
        str | None, typer.Option(help="IP addresses of the TLS proxies that alone reach the API, with commas.")
    ] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Start no worker process beside the API.")] = False,
) -> None:
    """Run the controller: API, pages and one worker process."""
    from edgefleet_controller.observability.requests import request_identifiers
    from edgefleet_controller.serve import ServeError, serve_controller

    settings = read_settings(
        data_dir, host=host, port=port, tls_cert=tls_cert, tls_key=tls_key, behind_proxy=behind_proxy
    )
    configure_logging(settings.log_format, identify=request_identifiers)
    try:
        serve_controller(settings, with_worker=not no_worker)
    except ServeError as err:
        fail(err.code, err.message)


def worker(
    data_dir: DataDir = None,
    name: Annotated[
        str | None, typer.Option(help="Stable name of this worker; it resumes its own work by it. Default: host name.")
    ] = None,
    queue: Annotated[list[str] | None, typer.Option("--queues", help="Queues to take work from; default: all.")] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Worker processes; each carries out one task of each queue at a time.")
    ] = 1,
    follow_stdin: Annotated[bool, typer.Option("--follow-stdin", help="Stop when standard input ends.")] = False,
) -> None:
    """Run a worker: it compresses and compiles what jobs ask for. Any number may work on one PostgreSQL store."""
    from edgefleet_controller.workers.presence import WorkerNameTaken
    from edgefleet_controller.workflows.worker import start_worker

    settings, stable_name = read_settings(data_dir), name or socket.gethostname()
    configure_logging(settings.log_format)
    names = tuple(part for value in queue or [] for part in value.split(",") if part)
    try:
        if concurrency > 1:
            several = [f"{stable_name}-{number + 1}" for number in range(concurrency)]
            _several_workers(settings, several, names, follow_stdin=follow_stdin)
            return
        start_worker(settings, name=stable_name, queues=names, follow_stdin=follow_stdin)
    except WorkerNameTaken as err:
        fail(err.code, str(err))
    except ValueError as err:
        fail("worker_options_invalid", str(err), status=2)


def _several_workers(settings: Settings, names: Sequence[str], queues: Sequence[str], *, follow_stdin: bool) -> None:
    from edgefleet_controller.engine.following import set_at_end_of_stdin
    from edgefleet_controller.engine.protocol import require_queues
    from edgefleet_controller.workers.process import WorkerProcess

    if queues:
        require_queues(queues)  # here, not in each process, which would be started again and again
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    processes = [WorkerProcess(settings, name=name, queues=queues) for name in names]
    for process in processes:
        process.start()
    if follow_stdin:
        threading.Thread(target=set_at_end_of_stdin, args=(stop,), daemon=True).start()
    stop.wait()
    for process in processes:
        process.ask_to_stop()
    for process in processes:
        process.stop()


def demo(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave controller and agent running until Ctrl-C.")] = False,
    data_dir: Annotated[
        Path, typer.Option(help="Where the demo keeps its controller; a second run reuses its cached compression.")
    ] = Path(".edgefleet/demo"),
) -> None:
    """Show the whole path on this machine: train a small network, compress it six ways, measure, compare."""
    from edgefleet_controller.demo import DemoError, run_demo

    _usable_folder(data_dir)
    if json_file is not None and not os.access(json_file.absolute().parent, os.W_OK):
        fail("json_file_unwritable", f"cannot write {json_file}: name a file in a folder that exists and is yours")
    try:
        run_demo(data_dir.resolve(), json_file=json_file, keep=keep)
    except DemoError as err:
        fail(err.code, err.message)


def read_settings(data_dir: Path | None, **options: Any) -> Settings:
    """The settings of the environment with what the command line says; ends the command if they cannot be."""
    given: dict[str, Any] = {"data_dir": data_dir.resolve() if data_dir else None, **options}
    try:
        settings = Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        fail("settings_invalid", f"{name} (or EDGEFLEET_{name.upper()}): {first['msg']}", status=EXIT_USAGE)
    _usable_folder(settings.data_dir)
    return settings


def _usable_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        fail(
            "data_dir_unusable",
            f"cannot write in {folder} ({err.strerror}); name another folder with --data-dir or $EDGEFLEET_HOME",
        )
